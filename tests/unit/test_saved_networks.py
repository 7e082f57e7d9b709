"""Networks of a weights folder are built and loaded by Python alone, and are those that were saved."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from entries import composed
from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from omegaconf import OmegaConf

from aniportrait.checkpoints.store import WeightsError, is_motion_key, open_weights, save_weights
from aniportrait.cli.networks import card_with
from aniportrait.pipelines.sampling_settings import SamplingSettings
from aniportrait.pipelines.saved_choices import PRETRAINED
from aniportrait.pipelines.saved_networks import (
    load_network,
    load_portrait_networks,
    own_sampling,
    portrait_pipeline,
    predicted_motion,
)

ROOT = Path(__file__).parents[2]
CHOSEN = {
    "model": "tiny",
    "autoencoder": "space_to_depth",
    "image_encoder": "tiny",
    "audio_encoder": "log_mel",
    "mesh_head": "small",
    "audio2pose": "ours",
    "pose_guider": "published_running",
    "noise_schedule": "clean_prediction",
    "latent_space": "portrait_relative",
    "windows": "closed_loop",
}
SMALL = [
    *("sizes.unet.block_out_channels=[32,64]", "sizes.unet.norm_num_groups=8"),
    *("sizes.motion.motion_norm_num_groups=8", "sizes.audio2pose.width=16", "mesh_head.width=24"),
    *("fps=24", "image_size=32", "motion_frames=4"),
    *("latent_space.scale=2.0", "noise_schedule.beta_end=0.05", "noise_schedule.beta_schedule=scaled_linear"),
    *("sampling.steps=7", "sampling.shared_noise=0.25", "sampling.guidance_interval=[0.1,0.9]"),
]
"""Numbers that are neither conf's nor the classes' own."""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder of all networks, as a training writes them, and the networks."""
    folder, networks = tmp_path_factory.mktemp("weights"), {}
    choices = [f"{group}={option}" for group, option in CHOSEN.items()]
    with composed("networks"):
        config = compose("networks", overrides=[*choices, *SMALL])
        OmegaConf.resolve(config)
    for name in ("audio2mesh", "audio2pose", "reference_net", "pose_guider", "denoising_unet"):
        networks[name] = instantiate(config.networks[name]).eval()
        state = networks[name].state_dict()
        save_weights(folder, {name: state}, {name: card_with(config, name, CHOSEN)})
    networks["denoising_unet"] = networks["denoising_unet"].with_motion(**config.sizes.motion).eval()
    motion = {key: v for key, v in networks["denoising_unet"].state_dict().items() if is_motion_key(key)}
    for value in motion.values():
        value.normal_(std=0.1)
    card = card_with(config, "motion_module", CHOSEN)
    save_weights(folder, {"motion_module": motion}, {"motion_module": card})
    return folder, networks


def test_a_loaded_network_says_what_the_saved_one_says(saved):
    folder, networks = saved
    weights = open_weights(folder)
    assert not GlobalHydra.instance().is_initialized()
    sound = torch.randn(1, 8000, generator=torch.Generator().manual_seed(0))
    loaded = load_network(weights, "audio2mesh", PRETRAINED)
    assert torch.equal(loaded.encoder(sound, 12), networks["audio2mesh"].encoder(sound, 12))
    drawn = [
        network.sample(sound, 12, generator=torch.Generator().manual_seed(1))
        for network in (load_network(weights, "audio2pose", PRETRAINED), networks["audio2pose"])
    ]
    assert torch.equal(*drawn)


def test_a_loaded_denoiser_with_motion_says_what_the_saved_one_says(saved):
    folder, networks = saved
    loaded = load_portrait_networks(open_weights(folder), PRETRAINED, motion=True)
    noisy = torch.randn(1, 4, 192, 4, 4, generator=torch.Generator().manual_seed(0))
    embeds = loaded.image_embeds(torch.zeros(1, 3, 32, 32))
    with torch.no_grad():
        answers = [
            net(noisy, torch.tensor([500]), embeds)
            for net in (loaded.denoising_unet, networks["denoising_unet"])
        ]
    assert torch.equal(*answers)
    without = load_portrait_networks(open_weights(folder), PRETRAINED, motion=False)
    assert not any(map(is_motion_key, without.state_dict()))
    with torch.no_grad():
        assert not torch.equal(without.denoising_unet(noisy, torch.tensor([500]), embeds), answers[0])
    assert loaded.latent_space.scale == 2.0
    assert not loaded.pose_guider.together


def test_a_pipeline_is_made_as_the_card_says_unless_somebody_says_otherwise(saved):
    weights = open_weights(saved[0])
    pipeline = portrait_pipeline(weights, PRETRAINED)
    assert (pipeline.image_size, pipeline.windows.context_length) == (32, 4)
    assert type(pipeline.windows).__name__ == "ClosedLoopWindows"
    assert pipeline.scheduler.config["prediction_type"] == "sample"
    other = portrait_pipeline(weights, PRETRAINED, context="open", image_size=64, motion=False)
    assert (other.image_size, type(other.windows).__name__) == (64, "OpenWindows")
    with pytest.raises(ValueError, match="context=shut must be one of open, closed_loop"):
        portrait_pipeline(weights, PRETRAINED, context="shut")
    assert predicted_motion(weights, PRETRAINED).fps == 24.0


def test_numbers_that_a_training_was_given_come_back_with_its_weights(saved):
    weights = open_weights(saved[0])
    pipeline = portrait_pipeline(weights, PRETRAINED)
    assert pipeline.networks.latent_space.scale == 2.0
    assert pipeline.scheduler.config["beta_end"] == 0.05
    assert pipeline.scheduler.config["beta_schedule"] == "scaled_linear"
    assert own_sampling(weights) == SamplingSettings(steps=7, guidance_interval=(0.1, 0.9), shared_noise=0.25)
    card = weights.card("denoising_unet")
    card["numbers"]["latent_space"]["scale"] = "3"
    with pytest.raises(WeightsError, match="latent_space sets scale to '3', which must be a number"):
        portrait_pipeline(weights, PRETRAINED)
    card["numbers"]["latent_space"]["scale"] = 2.0
    card["numbers"]["noise_schedule"]["prediction_type"] = "other"
    with pytest.raises(WeightsError, match="prediction_type to 'other', which must be one of v_prediction"):
        portrait_pipeline(weights, PRETRAINED)


def test_head_motion_without_audio2pose_says_what_to_do(tmp_path):
    save_weights(tmp_path, {}, {})
    with pytest.raises(WeightsError, match=r"holds no audio2pose: add head_pose=still"):
        predicted_motion(open_weights(tmp_path), PRETRAINED)


def test_neither_hydra_nor_lightning_is_needed_to_animate(saved):
    code = f"""
import sys
for name in ("hydra", "omegaconf", "lightning", "pytorch_lightning"):
    sys.modules[name] = None
import numpy as np
from aniportrait.checkpoints.store import open_weights
from aniportrait.pipelines.saved_networks import load_network, own_sampling, portrait_pipeline, predicted_motion
weights = open_weights({str(saved[0])!r})
pipeline = portrait_pipeline(weights, "nowhere")
face = np.random.default_rng(0).random((468, 2))
frames = pipeline(np.zeros((32, 32, 3), np.uint8), face, np.stack([face] * 2), own_sampling(weights))
assert frames.shape == (2, 32, 32, 3)
load_network(weights, "audio2mesh", "nowhere"), predicted_motion(weights, "nowhere")
import aniportrait.pipelines.animator
"""
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert finished.returncode == 0, finished.stderr
