"""Reference attention: one network records what it attends to, another attends to that as well."""

from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_motion_model import UNetMotionModel
from einops import rearrange, repeat
from torch import Tensor


class ReferenceAttention(AttnProcessor2_0):
    """Attention that records its input, or appends recorded tokens to its keys and values.

    Everything arrives through `cross_attention_kwargs`; processor and module keep nothing between calls.
    Cross-attention (a call with `encoder_hidden_states`) is left as diffusers does it.

    Args:
        name: of the attention module; the key of its tokens in `recorded` and `reference_features`.
    """

    def __init__(self, name: str):
        super().__init__()
        self.name = name

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        recorded: dict[str, Tensor] | None = None,
        reference_features: dict[str, Tensor] | None = None,
        reference_keep: Tensor | None = None,
    ) -> Tensor:
        """Attend.

        Args:
            hidden_states: normed tokens (b * f, l, c).
            recorded: if given, takes `hidden_states` under this module's name. The first entry stays:
                gradient checkpointing runs a block twice, the second run must not replace what others use.
            reference_features: name -> tokens (b, m, c) of one portrait per clip, shared by its f frames.
            reference_keep: (b,) bool; where False the sample attends to its own tokens only.
        """
        if encoder_hidden_states is not None:
            return super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
        if recorded is not None:
            recorded.setdefault(self.name, hidden_states)
        if reference_features is None:
            return super().__call__(attn, hidden_states, None, attention_mask, temb)
        return _attend_with_reference(attn, hidden_states, reference_features[self.name], reference_keep)


def _attend_with_reference(
    attn: Any, hidden_states: Tensor, reference: Tensor, keep: Tensor | None
) -> Tensor:
    """Tokens (b * f, l, c) attend to themselves and to the reference's (b, m, c) -> (b * f, l, c)."""
    frames = hidden_states.shape[0] // reference.shape[0]

    def own(projection: torch.nn.Module) -> Tensor:
        return rearrange(projection(hidden_states), "n l (k d) -> n k l d", k=attn.heads)

    def shared(projection: torch.nn.Module) -> Tensor:
        # Projected once per portrait, then viewed once per frame: the only copy is the concatenation below.
        return repeat(projection(reference), "b m (k d) -> (b f) k m d", k=attn.heads, f=frames)

    mask = None
    if keep is not None:
        kept = torch.ones(len(keep), hidden_states.shape[1] + reference.shape[1], dtype=torch.bool).to(
            keep.device
        )
        kept[:, hidden_states.shape[1] :] = keep[:, None]
        mask = repeat(kept, "b t -> (b f) 1 1 t", f=frames)
    attended = F.scaled_dot_product_attention(
        own(attn.to_q),
        torch.cat([own(attn.to_k), shared(attn.to_k)], dim=2),
        torch.cat([own(attn.to_v), shared(attn.to_v)], dim=2),
        attn_mask=mask,
    )
    attended = rearrange(attended, "n k l d -> n l (k d)")
    return attn.to_out[1](attn.to_out[0](attended))


def install_reference_attention(unet: UNet2DConditionModel | UNetMotionModel) -> None:
    """Give every spatial attention of the UNet its ReferenceAttention; temporal ones keep their processor."""
    processors = {
        key: processor if "motion_modules" in key else ReferenceAttention(key.removesuffix(".processor"))
        for key, processor in unet.attn_processors.items()
    }
    unet.set_attn_processor(processors)


def reference_names(unet: UNet2DConditionModel | UNetMotionModel) -> list[str]:
    """Names of the spatial self-attentions, in the order in which the UNet runs them down, up, mid."""
    return [
        key.removesuffix(".processor")
        for key in unet.attn_processors
        if "motion_modules" not in key and key.endswith("attn1.processor")
    ]
