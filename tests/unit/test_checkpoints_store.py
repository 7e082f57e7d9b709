"""Weights survive the way to disk and back; what does not fit, or would have to be executed, is refused by name."""

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from aniportrait.checkpoints import store
from aniportrait.checkpoints.store import CHECKPOINT_CARD, WeightsError, open_weights, save_weights

CARD = {"choices": {"model": "tiny"}, "sizes": {}, "settings": {"fps": 25.0, "image_size": 64}}


def test_a_weights_folder_gives_back_what_was_saved(tmp_path):
    network, copy = nn.Linear(3, 2), nn.Linear(3, 2)
    save_weights(tmp_path, {"audio2mesh": network.state_dict()}, {"audio2mesh": CARD})
    weights = open_weights(tmp_path)
    weights.load_into("audio2mesh", copy)
    assert torch.equal(network.weight, copy.weight)
    assert weights.card("audio2mesh") == CARD


def test_a_second_network_joins_the_first(tmp_path):
    for name in ("audio2mesh", "audio2pose"):
        save_weights(tmp_path, {name: nn.Linear(1, 1).state_dict()}, {name: CARD})
    assert set(open_weights(tmp_path).networks) == {"audio2mesh", "audio2pose"}


def test_a_full_disk_leaves_the_old_networks_together(tmp_path, monkeypatch):
    def states(value):
        return {name: {"a": torch.full((1,), float(value))} for name in ("reference_net", "pose_guider")}

    cards = dict.fromkeys(states(0), CARD)
    save_weights(tmp_path, states(1), cards)

    def full(state, file):
        if "pose_guider" in file.name:
            raise OSError("No space left on device")
        save_file(state, file)

    monkeypatch.setattr(store, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        save_weights(tmp_path, states(2), cards)
    assert {float(state["a"]) for state in open_weights(tmp_path).states.values()} == {1.0}
    assert len(list(tmp_path.iterdir())) == 3


def test_every_key_that_does_not_fit_is_named(tmp_path):
    save_weights(tmp_path, {"net": {"weight": torch.zeros(2, 4), "more": torch.zeros(1)}}, {"net": CARD})
    with pytest.raises(WeightsError) as error:
        open_weights(tmp_path).load_into("net", nn.Linear(3, 2))
    assert "missing bias" in str(error.value)
    assert "unexpected more" in str(error.value)
    assert "weight is (2, 4), must be (2, 3)" in str(error.value)


def test_a_network_that_is_not_there_is_named_with_those_that_are(tmp_path):
    save_weights(tmp_path, {"audio2pose": nn.Linear(1, 1).state_dict()}, {"audio2pose": CARD})
    with pytest.raises(WeightsError, match=r"holds no audio2mesh \(it holds audio2pose\)"):
        open_weights(tmp_path).card("audio2mesh")


class Payload:
    """What a hostile checkpoint would run."""

    def __reduce__(self):
        return (open, ("executed", "w"))


def test_a_checkpoint_that_would_execute_something_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, CHECKPOINT_CARD: "{}", "extra": Payload()}, tmp_path / "bad.ckpt")
    with pytest.raises(WeightsError, match="refused"):
        open_weights(tmp_path / "bad.ckpt")
    assert not (tmp_path / "executed").exists()


def test_a_checkpoint_keeps_motion_modules_apart(tmp_path):
    card = json.dumps({"format": 1, "networks": {"denoising_unet": CARD, "motion_module": CARD}})
    state = {
        "networks.denoising_unet.unet.conv.weight": torch.ones(1),
        "networks.denoising_unet.unet.motion_modules.0.weight": torch.zeros(1),
    }
    torch.save({"state_dict": state, CHECKPOINT_CARD: card}, tmp_path / "last.ckpt")
    weights = open_weights(tmp_path / "last.ckpt")
    assert set(weights.states["denoising_unet"]) == {"unet.conv.weight"}
    assert set(weights.states["motion_module"]) == {"unet.motion_modules.0.weight"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "model.json is no model card"),
        ("nothing", "model.json is no model card"),
        ('{"format": 99, "networks": {}}', "model.json has format 99, this version reads 1"),
        ('{"format": 1, "networks": ["audio2mesh"]}', "model.json is no model card: networks must hold"),
        (
            '{"format": 1, "networks": {"audio2mesh": "tiny"}}',
            "model.json is no model card: networks must hold",
        ),
    ],
)
def test_a_card_that_is_none_is_refused(tmp_path, content, said):
    (tmp_path / "model.json").write_text(content)
    with pytest.raises(WeightsError, match=said):
        open_weights(tmp_path)


def test_weights_that_do_not_exist_are_one_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"weights=.*does not exist"):
        open_weights(tmp_path / "absent")
