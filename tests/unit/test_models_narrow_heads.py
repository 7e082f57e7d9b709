"""Padded heads attend as torch's own attention does."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from aniportrait.models.narrow_heads import FEW, attend


def tokens(length: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(length + width)
    return torch.randn(2, 3, length, width, generator=generator).requires_grad_()


@pytest.mark.parametrize("width", [4, 8, 32])
@pytest.mark.parametrize("masked", [False, True])
def test_narrow_heads_attend_as_torch_does_forwards_and_backwards(width, masked):
    query, key, value = tokens(FEW, width), tokens(FEW + 9, width), tokens(FEW + 9, width)
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


def test_keys_that_are_hidden_cannot_matter_however_narrow_the_head():
    query, key, value = tokens(FEW, 8), tokens(FEW, 8), tokens(FEW, 8)
    mask = (torch.arange(FEW) < FEW // 2).view(1, 1, 1, FEW)
    other = torch.where(mask.view(FEW, 1), value, 100.0)
    assert torch.equal(attend(query, key, value, mask), attend(query, key, other, mask))
