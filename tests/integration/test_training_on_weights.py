"""Training starts from a weights folder and nothing else, and what was trained stands alone."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import published_folder
import pytest
import torch
from entries import TINY, composed
from transformers import Wav2Vec2Model

from aniportrait.checkpoints.store import WeightsError, open_weights, save_weights
from aniportrait.checkpoints.tensor_files import read_tensors
from aniportrait.cli.convert import convert
from aniportrait.cli.networks import card_of, fit_to_weights, record_sizes, states_of
from aniportrait.cli.train import build_module
from aniportrait.pipelines.saved_networks import load_network, load_portrait_networks

ROOT = Path(__file__).parents[2]
AUDIO = {"audio2mesh", "audio2pose"}
NOWHERE = "paths.pretrained=/nowhere"
CASES = {
    "audio2pose": ["experiment=audio2pose", "audio2pose=published"],
    "stage2": ["experiment=stage2_motion", "pose_guider=published", "image_size=64", "motion_frames=4"],
}
TRAINED = ("audio2pose", "motion_module")
TRAINING = ["num_workers=0", *(setting for setting in TINY if setting != "model=tiny")]


@pytest.mark.parametrize("case", CASES)
def test_training_starts_from_the_folder_and_nothing_else(case, imported, shards, tmp_path):
    settings = [
        *CASES[case],
        *TRAINING,
        f"data.folder={shards}",
        "max_steps=2",
        "batch_size=1",
        "warmup_steps=1",
    ]
    command = [sys.executable, str(ROOT / "train.py"), *settings, NOWHERE, "ema_decay=0.0"]

    def run(*more):
        finished = subprocess.run(
            [*command, *more], cwd=tmp_path, capture_output=True, text=True, timeout=300
        )
        assert finished.returncode == 0, finished.stderr

    run(f"weights={imported}", f"out={tmp_path}/run")
    before, after = open_weights(imported), open_weights(tmp_path / "run")
    assert set(after.networks) == ({"audio2pose"} if case == "audio2pose" else set(before.networks) - AUDIO)
    for name, state in after.states.items():
        former = before.states[name]  # each time, the file is read
        changed = any(not torch.equal(value, former[key]) for key, value in state.items())
        assert changed == (name in TRAINED), name
        assert after.card(name)["sizes"] == before.card(name)["sizes"]
    run(f"resume={tmp_path}/run", f"out={tmp_path}/rest", "max_steps=3")  # without weights=
    rest = open_weights(tmp_path / "rest")
    assert rest.networks == after.networks
    for name, state in rest.states.items():
        if name not in TRAINED:
            former = before.states[name]
            assert all(torch.equal(value, former[key]) for key, value in state.items()), name
    assert json.loads((tmp_path / "rest" / "metrics.json").read_text())["steps"] == 3


@pytest.mark.parametrize(
    ("settings", "networks", "said"),
    [
        (["experiment=stage2_motion"], ("denoising_unet", "pose_guider"), "add pose_guider=published$"),
        (
            ["experiment=audio2mesh", "audio_encoder=log_mel"],
            ("audio2mesh",),
            "audio_encoder=wav2vec2 mesh_head=published$",
        ),
        (
            ["experiment=stage2_motion", "noise_schedule=clean_prediction"],
            ("denoising_unet",),
            "add noise_schedule=published",
        ),
    ],
)
def test_training_with_other_choices_says_which_to_add(settings, networks, said, imported):
    with composed("train", *settings) as config, pytest.raises(WeightsError, match=said):
        fit_to_weights(config, open_weights(imported), networks)


def saved(folder, *settings):
    """The weights folder of a training that has not taken a step yet."""
    with composed("train", *TINY, *settings) as config:
        networks = build_module(config, None).networks
        record_sizes(config, networks)
        states = states_of(networks, config)
        save_weights(folder, states, {name: card_of(config, name) for name in states})
    return folder


def test_what_was_trained_on_a_pretrained_sound_encoder_stands_alone_and_can_be_exported(tmp_path):
    encoder = Wav2Vec2Model(published_folder.wav2vec2_config())
    encoder.save_pretrained(tmp_path / "wav2vec2")
    choices = ["audio_encoder=wav2vec2", f"audio_encoder.path={tmp_path}/wav2vec2", "mesh_head=published"]
    own = saved(tmp_path / "own", "experiment=audio2mesh", *choices, "audio_width=16")
    shutil.rmtree(tmp_path / "wav2vec2")
    with composed("animate", f"weights={own}", "portrait=none", NOWHERE) as config:
        network = load_network(open_weights(own), "audio2mesh", config.paths.pretrained)
    state = network.encoder.model.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in encoder.state_dict().items())
    with composed("convert", f"weights={own}", f"out={tmp_path}/back") as config:
        convert(config)
    assert "audio_encoder.masked_spec_embed" in read_tensors(tmp_path / "back" / "audio2mesh.pt")


def test_what_was_trained_on_a_pretrained_image_encoder_stands_alone(tmp_path):
    encoder = published_folder.image_encoder()
    encoder.save_pretrained(tmp_path / "clip")
    choices = ["image_encoder=clip", f"image_encoder.path={tmp_path}/clip", "image_embed_width=24"]
    own = saved(tmp_path / "own", "experiment=stage1_reference", *choices)
    shutil.rmtree(tmp_path / "clip")
    with composed("animate", f"weights={own}", "portrait=none", NOWHERE) as config:
        networks = load_portrait_networks(open_weights(own), config.paths.pretrained, motion=False)
    state = networks.image_encoder.clip.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in encoder.state_dict().items())
