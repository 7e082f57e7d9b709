"""The networks of Lmk2Video made ready for sampling: the same frames up to rounding, in less time."""

import torch

from aniportrait.models.compiling import compile_layers
from aniportrait.models.cpu_attention import widen_heads
from aniportrait.models.fused_attention import fuse_motion_attention
from aniportrait.models.packed_layers import pack_layers
from aniportrait.models.portrait_attention import spatial_blocks
from aniportrait.models.portrait_networks import PortraitNetworks

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def check_precision(name: str) -> None:
    """Raise ValueError where there is no precision of that name."""
    if name not in PRECISIONS:
        raise ValueError(f"precision={name} must be one of {', '.join(PRECISIONS)}")


def for_inference(
    networks: PortraitNetworks, dtype: torch.dtype = torch.float32, backend: str | None = None
) -> None:
    """From now on the networks can only sample, where they are: neither be trained, nor saved, nor moved.

    Args:
        dtype: of their weights; float32 is exact.
        backend: of torch.compile, for the denoiser's layers; None: not compiled.
    """
    networks.requires_grad_(False).eval().to(dtype=dtype, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    fuse_motion_attention(networks.denoising_unet)
    if backend is not None:
        compile_layers(networks.denoising_unet, backend)
    elif next(networks.parameters()).device.type == "cpu":
        for block in spatial_blocks(networks.denoising_unet.unet).values():
            widen_heads(block.attn1)
        for network in (networks.denoising_unet, networks.pose_guider, networks.autoencoder):
            pack_layers(network)
