"""Attention on a CPU, whose kernel for it is slow where heads have a few numbers each, or queries are few."""

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

NARROW = 16
"""Float32 products that end in fewer columns run at a sixth of the rate (MKL 2024.2: 14 GFLOP/s at 8, 80 at 16)."""

FEW = 64
"""With so many queries or fewer plain products are as quick, and 2 to 10 times as quick backwards (torch 2.13)."""


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """torch's scaled_dot_product_attention, the same numbers, sooner on a CPU.

    Few queries, as over time, are attended to by plain products; narrow heads are padded by zeros.

    Args:
        query: (b, k, l, d); key, value: (b, k, t, d).
        mask: bool, broadcast to (b, k, l, t); where False a key is not attended to.

    Returns:
        (b, k, l, d).
    """
    width = query.shape[-1]
    if query.device.type == "cpu" and query.shape[-2] <= FEW:
        return _by_products(query, key, value, mask)
    if query.device.type != "cpu" or width >= NARROW:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    query, key, value = (_padded(tokens) for tokens in (query, key, value))
    padded = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=width**-0.5)
    return padded[..., :width]


def _by_products(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    scores = (query * query.shape[-1] ** -0.5) @ key.mT
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return scores.softmax(dim=-1).to(value.dtype) @ value  # autocast takes softmax in float32


def widen_heads(attn: Any) -> None:
    """Let an attention module of diffusers make its narrow heads padded, in place: `attend` need not copy them then.

    For inference: its projections get rows and columns of zeros, and queries are larger by as much as torch's scale
    for wider heads is smaller.
    """
    width = attn.to_q.out_features // attn.heads
    if width >= NARROW:
        return
    for name, scale in (("to_q", (NARROW / width) ** 0.5), ("to_k", 1.0), ("to_v", 1.0)):
        rows = rearrange(getattr(attn, name).weight.detach() * scale, "(k d) c -> c k d", k=attn.heads)
        bias = getattr(attn, name).bias
        if bias is not None:
            bias = _padded(rearrange(bias.detach() * scale, "(k d) -> k d", k=attn.heads)).flatten()
        setattr(attn, name, _linear(rearrange(_padded(rows), "c k d -> (k d) c"), bias))
    out = attn.to_out[0]
    columns = rearrange(out.weight.detach(), "c (k d) -> c k d", k=attn.heads)
    attn.to_out[0] = _linear(rearrange(_padded(columns), "c k d -> c (k d)"), out.bias)


def _padded(heads: Tensor) -> Tensor:
    return F.pad(heads, (0, NARROW - heads.shape[-1]))


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight.contiguous(), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach(), requires_grad=False)
    return layer
