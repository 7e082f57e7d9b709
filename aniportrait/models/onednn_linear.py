"""Linear layers that are trained on a CPU, forward and backward in oneDNN: up to twice as fast as in MKL.

torch multiplies float32 matrices with MKL, which leaves half of AVX-512 idle on some processors (see packed_layers.py,
for inference). Weights stay where they are and as they are: optimizers, averages and checkpoints don't notice.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.flop_counter import register_flop_formula

from aniportrait.models.processor import onednn_is_faster

SMALL = 2**21
"""Of fewer multiplications, what python adds takes longer than what is saved (tokens x inputs x outputs)."""


def use_onednn(network: nn.Module) -> None:
    """From now on the network's linear layers, and 1x1 convolutions on one thread, compute as `linear` does, in place.

    Nothing changes where this processor would take longer so. A layer changes its class, as under torch's
    parametrizations: names, weights, copies and pickles stay what they were.
    """
    if not onednn_is_faster(torch.float32):
        return
    for layer in network.modules():
        if type(layer) is nn.Linear:
            layer.__class__ = _OneDnnLinear
        elif type(layer) is nn.Conv2d and _is_pointwise(layer):
            layer.__class__ = _OneDnnPointwiseConv


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """torch's linear, up to rounding: large products in float32 on a CPU run in oneDNN.

    Others, and those under autocast or in what is compiled, stay with torch.

    Args:
        input: (..., i).
        weight: (o, i).
        bias: (o,).

    Returns:
        (..., o).
    """
    if _is_slow(input, weight):
        return _Linear.apply(input, weight, bias)  # pyright: ignore[reportReturnType]
    return F.linear(input, weight, bias)


class _OneDnnLinear(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)


class _OneDnnPointwiseConv(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        # With more threads torch's own is in oneDNN, with one it is so for 16 pictures and more alone.
        if torch.get_num_threads() > 1 or not _is_slow(input, self.weight):
            return super().forward(input)
        pixels = rearrange(input.contiguous(memory_format=torch.channels_last), "b c h w -> b h w c")
        return rearrange(linear(pixels, self.weight.flatten(1), self.bias), "b h w c -> b c h w")


def _is_pointwise(layer: nn.Conv2d) -> bool:
    return layer.kernel_size == layer.stride == (1, 1) and layer.padding == (0, 0) and layer.groups == 1


def _is_slow(input: Tensor, weight: Tensor) -> bool:
    """Whether it is worth the way to oneDNN, and nothing else is wanted."""
    return (
        input.device.type == "cpu"
        and input.dtype == weight.dtype == torch.float32
        and input.numel() * len(weight) >= SMALL
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def _product(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """(..., i), (o, i) -> (..., o), in any layout."""
    return torch.ops.mkldnn._linear_pointwise.default(left, right, bias, "none", [], "")


def _outer_sum(grad: Tensor, input: Tensor) -> Tensor:
    """(n, o), (n, i) -> (o, i), the way round in which less is copied: oneDNN wants the left one transposed."""
    (n, o), i = grad.shape, input.shape[1]
    if n * i + o * i < n * o:
        return _product(input.t(), grad.t()).t().contiguous()
    return _product(grad.t(), input.t())


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(input, weight)
        return _product(input, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        input, weight = ctx.saved_tensors
        for_input, for_weight, for_bias = ctx.needs_input_grad
        rows = grad.flatten(end_dim=-2)
        return (
            _product(grad, weight.t()) if for_input else None,
            _outer_sum(rows, input.flatten(end_dim=-2)) if for_weight else None,
            rows.sum(0) if for_bias else None,
        )


@register_flop_formula(torch.ops.mkldnn._linear_pointwise)
def _operations(input: tuple[int, ...], weight: tuple[int, ...], *_: Any, **__: Any) -> int:
    """Of shapes: torch counts no products of oneDNN."""
    return 2 * math.prod(input) * weight[0]
