"""Tiny ReferenceNets and denoisers, and inputs that fit them."""

import functools

import torch

from aniportrait.models.denoising_unet import DenoisingUNet
from aniportrait.models.motion_module import MotionModule
from aniportrait.models.reference_net import ReferenceNet

SIZES = {
    "in_channels": 12,
    "block_out_channels": (16, 24, 32),
    "layers_per_block": 1,
    "cross_attention_dim": 8,
    "attention_head_dim": 4,
    "norm_num_groups": 8,
}


def networks(motion=False):
    return reference_net(), denoiser(motion)


def reference_net():
    torch.manual_seed(1)
    return ReferenceNet(**SIZES).eval()


def denoiser(motion=False):
    """A fresh one: tests write into it."""
    torch.manual_seed(2)
    stage1 = DenoisingUNet(**SIZES).eval()
    return stage1.with_motion(16, 4) if motion else stage1


def awake(motion_denoiser):
    """The same denoiser with motion modules that say something."""
    torch.manual_seed(3)
    for module in motion_denoiser.modules():
        if isinstance(module, MotionModule):
            torch.nn.init.normal_(module.proj_out.weight, std=0.3)
    return motion_denoiser


def inputs(b=2, f=3, side=8):
    generator = torch.Generator().manual_seed(0)
    draw = functools.partial(torch.randn, generator=generator)
    sides = (side, side // 2, side // 4, side // 4)
    return {
        "noisy_latents": draw(b, f, 12, side, side),
        "timesteps": torch.arange(b) * 300 + 7,
        "image_embeds": draw(b, 1, 8),
        "pose_features": tuple(draw(b, f, c, s, s) for c, s in zip((16, 16, 24, 32), sides, strict=True)),
    }


def reference(b=2, side=8):
    latents = torch.randn(b, 12, side, side, generator=torch.Generator().manual_seed(5))
    return reference_net()(latents, inputs(b)["image_embeds"])


def close(a, b, tolerance=1e-5):
    return torch.allclose(a, b, rtol=0, atol=tolerance * float(b.abs().max()))
