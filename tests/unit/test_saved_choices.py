"""What a weights folder may choose is what conf/ offers: the same options, the same classes, the same numbers."""

import subprocess
import sys
from pathlib import Path

import pytest
from entries import CONF, composed
from hydra import compose
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from aniportrait.checkpoints.store import Weights, WeightsError, save_weights
from aniportrait.cli.networks import card_with
from aniportrait.models.portrait_networks import PortraitNetworks
from aniportrait.pipelines.saved_choices import CHOICES, HEAD_MOTION, SAMPLING, choices_of
from aniportrait.pipelines.saved_networks import load_network, load_portrait_networks

ROOT = Path(__file__).parents[2]
OPTIONS = [(group, option) for group in CHOICES for option in CHOICES[group]]
CHOSEN = {
    "model": "tiny",
    "autoencoder": "space_to_depth",
    "image_encoder": "thumbnail",
    "audio_encoder": "log_mel",
    "mesh_head": "temporal",
    "audio2pose": "ours",
    "pose_guider": "reference_aware",
    "noise_schedule": "clean_prediction",
    "latent_space": "portrait_relative",
    "windows": "open",
}


def test_every_option_of_conf_can_be_chosen():
    for group, options in CHOICES.items():
        assert set(options) == {file.stem for file in (CONF / group).glob("*.yaml")}, group


@pytest.mark.parametrize(("group", "option"), [pair for pair in OPTIONS if pair[0] != "model"])
def test_an_option_builds_what_conf_says(group, option):
    with composed("networks", f"{group}={option}", "paths.pretrained=elsewhere") as config:
        node = config[group]
        stated = {key: value for key, value in _plain(node).items() if not key.startswith("_")}
    chosen = CHOICES[group][option]
    name = f"{chosen.build.__module__}.{chosen.build.__name__}"
    assert name == node["_target_"]
    if chosen.folder is not None:
        assert stated["path"] == f"elsewhere/{chosen.folder}"
    for key, value in chosen.fixed.items():
        assert stated[key] == (list(value) if isinstance(value, tuple) else value), key
    # what is neither fixed here nor a number of the card must be the builder's own default
    for key in set(stated) - set(chosen.fixed) - {"path", "encoder"}:
        if isinstance(stated[key], str):
            assert stated[key] == _defaults(chosen.build)[key], key


@pytest.mark.parametrize("option", ["scaled_linear", "published_sampling", "clean_prediction"])
def test_noise_schedules_have_the_numbers_of_conf(option):
    with composed("networks", f"noise_schedule={option}") as config:
        theirs = instantiate(config.noise_schedule)
    assert dict(CHOICES["noise_schedule"][option]({}, ROOT, "").config) == dict(theirs.config)


@pytest.mark.parametrize("model", SAMPLING)
def test_frames_are_sampled_as_conf_says(model):
    with composed("networks", f"model={model}") as config:
        stated = _plain(config.sampling)
    own = vars(SAMPLING[model])
    assert stated == {key: list(v) if isinstance(v := own[key], tuple) else v for key in stated}


@pytest.mark.parametrize("option", HEAD_MOTION)
def test_head_motion_is_what_conf_says(option):
    with composed("networks", f"audio2pose={option}") as config:
        stated = _plain(config.head_motion)
    made = HEAD_MOTION[option]
    assert f"{made.func.__module__}.{made.func.__name__}" == stated["_target_"]
    assert made.keywords == {key: value for key, value in stated.items() if not key.startswith("_")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Every network of the tiny model, untrained, as a training writes them."""
    out = tmp_path_factory.mktemp("weights")
    with composed("networks") as config:
        config = compose("networks")
        OmegaConf.resolve(config)
        for name in ("audio2mesh", "audio2pose", "reference_net", "pose_guider", "denoising_unet"):
            network = instantiate(config.networks[name])
            save_weights(out, {name: network.state_dict()}, {name: card_with(config, name, CHOSEN)})
            if name == "denoising_unet":
                moving = network.with_motion(**config.sizes.motion).state_dict()
                motion = {key: value for key, value in moving.items() if "motion_modules." in key}
                card = card_with(config, "motion_module", CHOSEN)
                save_weights(out, {"motion_module": motion}, {"motion_module": card})
    return out


def test_neither_hydra_nor_lightning_is_needed_to_animate(folder):
    code = f"""
import sys
for name in ("hydra", "omegaconf", "lightning", "pytorch_lightning"):
    sys.modules[name] = None
import numpy as np
from aniportrait.checkpoints.store import open_weights
from aniportrait.pipelines.saved_networks import load_network, own_sampling, portrait_pipeline, predicted_motion
weights = open_weights({str(folder)!r})
pipeline = portrait_pipeline(weights, "nowhere")
face = np.random.default_rng(0).random((468, 2))
frames = pipeline(np.zeros((64, 64, 3), np.uint8), face, np.stack([face] * 2), own_sampling(weights))
assert frames.shape == (2, 64, 64, 3)
load_network(weights, "audio2mesh", "nowhere"), predicted_motion(weights, "nowhere")
import aniportrait.pipelines.animator
"""
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert finished.returncode == 0, finished.stderr


def test_a_card_of_other_choices_or_numbers_is_refused(folder):
    def weights(**changes) -> Weights:
        card = {"choices": dict(CHOSEN), "sizes": {}, "settings": {"fps": 25.0, "image_size": 64}} | changes
        return Weights(folder, {"pose_guider": card}, {})

    with pytest.raises(WeightsError, match=r"chooses windows=round, which is no choice of this version"):
        choices_of(weights(choices=CHOSEN | {"windows": "round"}), "pose_guider")
    with pytest.raises(WeightsError, match=r"pose_guider sets depth, which is no setting of this version"):
        load_network(weights(sizes={"depth": 3}), "pose_guider", ROOT)
    with pytest.raises(WeightsError, match=r"sets width to 'wide', which must be a number"):
        load_network(weights(sizes={"width": "wide"}), "pose_guider", ROOT)


def test_motion_modules_are_loaded_where_they_are_wanted(folder):
    from aniportrait.checkpoints.store import open_weights

    for motion in (False, True):
        networks = load_portrait_networks(open_weights(folder), ROOT, motion=motion)
        assert isinstance(networks, PortraitNetworks)
        assert any("motion_modules" in name for name, _ in networks.named_parameters()) == motion


def _plain(node: DictConfig) -> dict:
    return OmegaConf.to_container(node, resolve=True)


def _defaults(build) -> dict:
    import inspect

    return {name: parameter.default for name, parameter in inspect.signature(build).parameters.items()}
