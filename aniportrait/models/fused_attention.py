"""Self-attention over time in fewer steps: queries, keys and values are one product."""

from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from aniportrait.models.cpu_attention import attend
from aniportrait.models.motion_module import MotionModule


class FusedSelfAttention(nn.Module):
    """What an Attention of diffusers computes of one sequence, for inference; its weights are copied.

    Args:
        attn: without biases before its heads, norms, masks or residuals of its own, as those of motion modules are.
    """

    def __init__(self, attn: Any):
        super().__init__()
        parts = [attn.to_q, attn.to_k, attn.to_v]
        self.heads, self.to_out = attn.heads, attn.to_out[0]
        self.to_qkv = nn.Linear(attn.to_q.in_features, 3 * attn.to_q.out_features, bias=False, device="meta")
        self.to_qkv.weight = nn.Parameter(torch.cat([part.weight.detach() for part in parts]), False)

    def forward(self, hidden_states: Tensor, **_: None) -> Tensor:
        """(n, l, c) -> (n, l, c)."""
        queries_keys_values = rearrange(
            self.to_qkv(hidden_states), "n l (three k d) -> three n k l d", three=3, k=self.heads
        )
        return self.to_out(rearrange(attend(*queries_keys_values), "n k l d -> n l (k d)"))


def fuse_motion_attention(network: nn.Module) -> None:
    """Give the network's motion modules FusedSelfAttention, in place."""
    for module in network.modules():
        if isinstance(module, MotionModule):
            for block in module.transformer_blocks:
                for name in ("attn1", "attn2"):
                    setattr(block, name, FusedSelfAttention(getattr(block, name)))
