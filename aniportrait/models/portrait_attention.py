"""The attention of a UNet that hears of a portrait: self-attention to its tokens, cross-attention to its embedding."""

from typing import Any

from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_motion_model import UNetMotionModel
from torch import nn

from aniportrait.models.image_attention import ImageAttention, UnreadNorm
from aniportrait.models.reference_attention import ReferenceAttention


def install_portrait_attention(unet: UNet2DConditionModel | UNetMotionModel) -> None:
    """Give every spatial self-attention its ReferenceAttention and every cross-attention its ImageAttention.

    What an ImageAttention leaves unread (`norm2`, and `to_q` and `to_k` of `attn2`) keeps its keys and is frozen:
    it can get no gradient, an error to DDP. Temporal attention keeps its processors.
    """
    processors = dict(unet.attn_processors)
    for name, block in spatial_blocks(unet).items():
        processors[f"{name}.attn1.processor"] = ReferenceAttention(f"{name}.attn1")
        processors[f"{name}.attn2.processor"] = ImageAttention(f"{name}.attn2")
        if not isinstance(block.norm2, UnreadNorm):
            norm = UnreadNorm(block.norm2.normalized_shape, block.norm2.eps)
            norm.load_state_dict(block.norm2.state_dict())
            block.norm2 = norm
        for unread in (block.norm2, block.attn2.to_q, block.attn2.to_k):
            unread.requires_grad_(False)
    unet.set_attn_processor(processors)


def spatial_blocks(unet: nn.Module) -> dict[str, Any]:
    """Name -> transformer block with spatial attention."""
    return {
        name: module
        for name, module in unet.named_modules()
        if isinstance(module, BasicTransformerBlock) and "motion_modules" not in name
    }
