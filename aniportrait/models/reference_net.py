"""ReferenceNet: a Stable Diffusion UNet that reads the portrait; its self-attention inputs are the result."""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from aniportrait.models.checkpointing import checkpoint_layers
from aniportrait.models.portrait_attention import install_portrait_attention


def spatial_unet(
    in_channels: int,
    block_out_channels: Sequence[int],
    layers_per_block: int,
    cross_attention_dim: int,
    attention_head_dim: int,
    norm_num_groups: int,
) -> UNet2DConditionModel:
    """A UNet of Stable Diffusion 1.5's layout: cross-attention at every level but the last.

    `attention_head_dim` is diffusers' name for the number of heads of Stable Diffusion 1.5, not their width.
    """
    levels = len(block_out_channels)
    if levels < 2:
        raise ValueError(f"block_out_channels {tuple(block_out_channels)} must have at least 2 levels")
    for channels in block_out_channels:
        if channels % norm_num_groups:
            raise ValueError(f"norm_num_groups ({norm_num_groups}) must divide every width, not {channels}")
        if channels % attention_head_dim:
            raise ValueError(
                f"attention_head_dim ({attention_head_dim}, the number of heads) must divide every width, "
                f"not {channels}"
            )
    unet = UNet2DConditionModel(
        in_channels=in_channels,
        out_channels=in_channels,
        down_block_types=("CrossAttnDownBlock2D",) * (levels - 1) + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * (levels - 1),
        block_out_channels=tuple(block_out_channels),
        layers_per_block=layers_per_block,
        cross_attention_dim=cross_attention_dim,
        attention_head_dim=attention_head_dim,
        norm_num_groups=norm_num_groups,
    )
    install_portrait_attention(unet)
    return unet


class ReferenceNet(nn.Module):
    """The portrait's UNet, without an output head; see `spatial_unet` for the sizes.

    What comes after the last recorded norm is read by nobody: it is not computed, and frozen at construction, as it can
    get no gradient. So are the unread weights of cross-attention (see `install_portrait_attention`).
    """

    def __init__(
        self,
        in_channels: int = 4,
        block_out_channels: Sequence[int] = (320, 640, 1280, 1280),
        layers_per_block: int = 2,
        cross_attention_dim: int = 768,
        attention_head_dim: int = 8,
        norm_num_groups: int = 32,
    ):
        super().__init__()
        self.unet: Any = spatial_unet(
            in_channels,
            block_out_channels,
            layers_per_block,
            cross_attention_dim,
            attention_head_dim,
            norm_num_groups,
        )
        self.unet.conv_norm_out = None
        self.unet.conv_out = nn.Identity()
        self.unet.up_blocks[-1].attentions[-1].transformer_blocks[0].__class__ = _LastBlock  # its keys stay
        self.freeze_dead_parameters()

    def forward(self, latents: Tensor, image_embeds: Tensor) -> dict[str, Tensor]:
        """Read portraits, at time 0: their latents carry no noise.

        Args:
            latents: (b, c, h, w) scaled autoencoder latents.
            image_embeds: (b, 1, d).

        Returns:
            attention name -> its normed input tokens (b, l, c).
        """
        recorded: dict[str, Tensor] = {}
        timesteps = torch.zeros(len(latents), dtype=torch.long, device=latents.device)
        self.unet(latents, timesteps, image_embeds, cross_attention_kwargs={"recorded": recorded})
        return recorded

    def freeze_dead_parameters(self) -> None:
        """Freeze the 20 tensors after the last recorded norm: they get no gradient, an error to DDP."""
        last = self.unet.up_blocks[-1].attentions[-1]
        for name, parameter in last.named_parameters():
            alive = name.startswith(("norm.", "proj_in.", "transformer_blocks.0.norm1."))
            if not alive:
                parameter.requires_grad_(False)

    def enable_gradient_checkpointing(self) -> None:
        """Recompute the large activations in the backward pass instead of keeping them; see `checkpoint_layers`."""
        checkpoint_layers(self.unet)


class _LastBlock(BasicTransformerBlock):
    """The last transformer block: when something records, its first norm and nothing after it."""

    def forward(
        self,
        hidden_states: Tensor,
        *args: Any,
        cross_attention_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Tensor:
        chosen = cross_attention_kwargs or {}
        recorded = chosen.get("recorded")
        if recorded is None:
            return super().forward(hidden_states, *args, cross_attention_kwargs=chosen, **kwargs)
        processor: Any = self.attn1.processor
        recorded.setdefault(processor.name, self.norm1(hidden_states))
        return hidden_states
