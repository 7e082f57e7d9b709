"""How motion modules attend: each place of a picture to itself at other times."""

from typing import Any

from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from einops import rearrange
from torch import Tensor

from aniportrait.models.cpu_attention import attend


class AttentionOverTime(AttnProcessor2_0):
    """diffusers' self-attention, its few queries by what is quickest for few.

    For attention without masks, norms or residuals of its own, as that of motion modules is.
    """

    def __call__(self, attn: Attention, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        """(n, l, c) -> (n, l, c)."""
        projections: Any = (attn.to_q, attn.to_k, attn.to_v)
        query, key, value = (
            rearrange(project(hidden_states), "n l (k d) -> n k l d", k=attn.heads) for project in projections
        )
        project, dropout = attn.to_out  # pyright: ignore[reportGeneralTypeIssues]
        return dropout(project(rearrange(attend(query, key, value), "n k l d -> n l (k d)")))
