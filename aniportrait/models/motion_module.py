"""Motion modules: attention over time, one after each layer of the denoising UNet."""

from typing import Any, cast

import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.embeddings import SinusoidalPositionalEmbedding
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from einops import rearrange
from torch import Tensor, nn

from aniportrait.models.attention_over_time import AttentionOverTime


class MotionModule(AnimateDiffTransformer3D):
    """AnimateDiff's temporal transformer (https://arxiv.org/abs/2307.04725), silent until trained.

    Tokens (b * f, c, h, w) -> the same shape; `num_frames` says f.

    Args:
        channels: width of the frames' features.
        heads: of both temporal self-attentions.
        max_seq_length: most frames it can tell apart.
        norm_num_groups: of its FrameGroupNorm.
    """

    def __init__(self, channels: int, heads: int, max_seq_length: int, norm_num_groups: int):
        super().__init__(
            num_attention_heads=heads,
            attention_head_dim=channels // heads,
            in_channels=channels,
            norm_num_groups=norm_num_groups,
            positional_embeddings="sinusoidal",
            num_positional_embeddings=max_seq_length,
        )
        self.norm = FrameGroupNorm(norm_num_groups, channels, eps=1e-6)
        for parameter in self.proj_out.parameters():
            nn.init.zeros_(parameter)
        for module in self.modules():
            if isinstance(module, Attention):
                module.set_processor(cast(Any, AttentionOverTime()))
            if isinstance(module, SinusoidalPositionalEmbedding):  # computed, hence in no file
                module.register_buffer("pe", module.get_buffer("pe"), persistent=False)


class FrameGroupNorm(nn.GroupNorm):
    """Group normalisation of every frame by itself: (b, c, f, h, w) -> (b, c, f, h, w).

    diffusers normalises over all frames of a clip; AnimateDiff's weights were trained per frame (7 % apart).
    """

    def forward(self, input: Tensor) -> Tensor:
        frames = rearrange(input, "b c f h w -> (b f) c h w")
        if torch.is_grad_enabled() and not frames.requires_grad:
            # torch 2.13's CPU backward of a channels_last group norm writes to the gradient of its input even where
            # none is wanted, a segmentation fault: so it is for stage 2's first motion module.
            frames = frames.contiguous()
        return rearrange(super().forward(frames), "(b f) c h w -> b c f h w", b=input.shape[0])
