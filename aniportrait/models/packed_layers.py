"""Layers in oneDNN's own layout: with AVX-512, on CPUs whose vendor MKL does not know, twice as fast.

torch multiplies float32 matrices with MKL, which leaves half of AVX-512 idle on some processors, and brings the filters
of a convolution into oneDNN's order at every call. inductor calls the same operators as these layers.
"""

from collections.abc import Iterator
from typing import Any

import torch
from diffusers.models.activations import GEGLU
from torch import Tensor, nn

from aniportrait.models.processor import onednn_is_faster


class PackedLinear(nn.Module):
    """A linear layer for inference, of which only the packed weight is kept: it can neither be saved nor moved.

    Args:
        layer: what it computes.
        after: what is done to each number of the result: "none" or "gelu".
    """

    def __init__(self, layer: nn.Linear, after: str = "none"):
        super().__init__()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach())
        self.bias = layer.bias
        self._after = (after, [], "none" if after == "gelu" else "")  # gelu by erf, not by tanh

    def forward(self, input: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(input, self.packed, self.bias, *self._after)


class PackedConv(nn.Module):
    """A convolution for inference, padded by zeros; only the packed filters are kept."""

    def __init__(self, layer: nn.Conv2d):
        super().__init__()
        self._places = (layer.padding, layer.stride, layer.dilation, layer.groups)
        self.packed = torch.ops.mkldnn._reorder_convolution_weight(layer.weight.detach(), *self._places)
        self.bias = layer.bias

    def forward(self, input: Tensor) -> Tensor:
        return torch.ops.mkldnn._convolution_pointwise(
            input, self.packed, self.bias, *self._places, "none", [], ""
        )


class PackedGeglu(nn.Module):
    """diffusers' GEGLU, its gate's gelu computed where the numbers are made, not in a pass of its own."""

    def __init__(self, layer: GEGLU):
        super().__init__()
        hidden, gate = _halves(layer.proj)
        self.hidden, self.gate = PackedLinear(hidden), PackedLinear(gate, "gelu")

    def forward(self, hidden_states: Tensor) -> Tensor:
        return self.hidden(hidden_states).mul_(self.gate(hidden_states))


def pack_layers(network: nn.Module) -> None:
    """From now on the network's layers compute in oneDNN's layout, in place; for inference on a CPU.

    Layers stay as they are where this processor would take longer over their numbers so.
    """
    for name, layer in list(network.named_children()):
        kind = _packed_kind(layer)
        if kind is None:
            pack_layers(layer)
        else:
            setattr(network, name, kind(layer))


def _packed_kind(layer: nn.Module) -> Any:
    """The class that packs `layer`, if there is one."""
    kind = {nn.Linear: PackedLinear, nn.Conv2d: PackedConv, GEGLU: PackedGeglu}.get(type(layer))
    if kind is PackedConv and (layer.padding_mode != "zeros" or isinstance(layer.padding, str)):
        return None
    ready = all(
        weight.device.type == "cpu" and onednn_is_faster(weight.dtype) for weight in layer.parameters()
    )
    return kind if ready else None


def _halves(layer: nn.Linear) -> Iterator[nn.Linear]:
    """Two linear layers that make the halves of what `layer` makes."""
    for weight, bias in zip(layer.weight.chunk(2), layer.bias.chunk(2), strict=True):
        half = nn.Linear(layer.in_features, len(bias), device="meta")
        half.weight, half.bias = nn.Parameter(weight.detach().clone()), nn.Parameter(bias.detach().clone())
        yield half
