"""How motion modules attend: each place of a picture to itself at other times."""

from typing import Any

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from einops import rearrange
from torch import Tensor

from aniportrait.models.cpu_attention import attend
from aniportrait.models.onednn_linear import linear


class AttentionOverTime(AttnProcessor2_0):
    """diffusers' self-attention with queries, keys and values as one product, the few queries by what is quickest.

    For attention without biases before its heads, masks, norms or residuals of its own, as that of motion modules is.
    """

    def __call__(self, attn: Attention, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        """(n, l, c) -> (n, l, c)."""
        projections: Any = (attn.to_q, attn.to_k, attn.to_v)
        queries_keys_values = rearrange(
            linear(hidden_states, torch.cat([projection.weight for projection in projections])),
            "n l (three k d) -> three n k l d",
            three=3,
            k=attn.heads,
        )
        project, dropout = attn.to_out  # pyright: ignore[reportGeneralTypeIssues]
        return dropout(project(rearrange(attend(*queries_keys_values), "n k l d -> n l (k d)")))
