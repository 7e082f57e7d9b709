"""Where windows meet, a network's frames change no more than inside a window."""

import numpy as np
import pytest
import torch
from torch import nn

from aniportrait.diffusion.context import OpenWindows
from aniportrait.diffusion.noise_schedule import build_scheduler
from aniportrait.models.autoencoder import SpaceToDepth
from aniportrait.models.denoising_unet import DenoisingUNet
from aniportrait.models.image_encoder import ThumbnailEncoder
from aniportrait.models.latent_space import PortraitRelativeLatents
from aniportrait.models.motion_module import MotionModule
from aniportrait.models.portrait_networks import PortraitNetworks
from aniportrait.models.pose_guider import ReferenceAwarePoseGuider
from aniportrait.models.reference_net import ReferenceNet
from aniportrait.pipelines.portrait import PortraitPipeline, SamplingSettings

SIZES = {
    "in_channels": 192,
    "block_out_channels": (16, 32),
    "layers_per_block": 1,
    "cross_attention_dim": 192,
    "attention_head_dim": 2,
    "norm_num_groups": 8,
}
FRAMES = 80


@pytest.fixture(scope="module")
def networks() -> PortraitNetworks:
    """Random networks whose motion modules speak up: what is around a frame in its window changes it."""
    torch.manual_seed(0)
    denoiser = DenoisingUNet(**SIZES).with_motion(16, 2, 8)
    for module in denoiser.modules():
        if isinstance(module, MotionModule):
            nn.init.normal_(module.proj_out.weight, std=2.0)
    guider = ReferenceAwarePoseGuider((16, 32), width=8, attention_heads=2)
    parts = ReferenceNet(**SIZES), guider, denoiser, SpaceToDepth(), ThumbnailEncoder()
    return PortraitNetworks(*parts, PortraitRelativeLatents(3.0)).eval()


def changes(networks, windows) -> np.ndarray:
    """(f - 1,) how much a still face changes from frame to frame."""
    schedule = build_scheduler(0.002, 0.06, "linear", "sample")
    pipeline = PortraitPipeline(networks, schedule, 32, windows)
    face = np.random.default_rng(0).random((468, 2))
    picture = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    settings = SamplingSettings(steps=3, shared_noise=1.0)
    frames = pipeline(picture, face, np.stack([face] * FRAMES), settings).astype(np.float64)
    return np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))


def at_seams(changed: np.ndarray, windows: OpenWindows) -> tuple[float, float]:
    """Mean and greatest change where two windows fade, or at their border, over that elsewhere."""
    covered = np.zeros(FRAMES, int)
    for frames, _ in windows(FRAMES):
        covered[frames] += 1
    seam = (covered[:-1] > 1) | (covered[1:] > 1)
    if not seam.any():
        seam[[int(frames[0]) - 1 for frames, _ in windows(FRAMES)][1:]] = True
    inside = changed[~seam]
    return changed[seam].mean() / inside.mean(), changed[seam].max() / inside.max()


def test_frames_change_no_more_where_windows_fade_than_inside_them(networks):
    mean, greatest = at_seams(changes(networks, OpenWindows(16, 6)), OpenWindows(16, 6))
    assert mean <= 1.0
    assert greatest <= 1.0
    mean, greatest = at_seams(changes(networks, OpenWindows(16, 4)), OpenWindows(16, 4))
    assert mean < 1.05, "the usual quarter"
    assert greatest < 1.1
    mean, greatest = at_seams(changes(networks, OpenWindows(16, 0)), OpenWindows(16, 0))
    assert mean > 1.5, "without an overlap this test sees the seams"
    assert greatest > 1.2
