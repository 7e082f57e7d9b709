"""Padded heads, and few queries, attend as in torch's own attention."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from aniportrait.models.cpu_attention import FEW, attend


def tokens(length: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(length + width)
    return torch.randn(2, 3, length, width, generator=generator).requires_grad_()


@pytest.mark.parametrize("width", [4, 8, 32])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("queries", [9, FEW, FEW + 1])
def test_attention_is_torchs_forwards_and_backwards(queries, width, masked):
    query, key, value = tokens(queries, width), tokens(FEW + 9, width), tokens(FEW + 9, width)
    mask = torch.arange(FEW + 9).expand(2, 1, 1, -1) < torch.tensor([FEW, FEW + 9]).view(2, 1, 1, 1)
    mask = mask if masked else None
    ours = attend(query, key, value, mask)
    stock = scaled_dot_product_attention(query, key, value, attn_mask=mask)
    torch.testing.assert_close(ours, stock, rtol=1e-5, atol=1e-5)
    towards = torch.randn(ours.shape, generator=torch.Generator().manual_seed(0))
    for mine, theirs in zip(
        torch.autograd.grad(ours, (query, key, value), towards),
        torch.autograd.grad(stock, (query, key, value), towards),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("length", [FEW, 2 * FEW])
def test_keys_that_are_hidden_cannot_matter_however_narrow_the_head(length):
    query, key, value = tokens(length, 8), tokens(length, 8), tokens(length, 8)
    mask = (torch.arange(length) < length // 2).view(1, 1, 1, length)
    other = torch.where(mask.view(length, 1), value, 100.0)
    assert torch.equal(attend(query, key, value, mask), attend(query, key, other, mask))
