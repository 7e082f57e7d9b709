"""Linear layers in oneDNN's layout: on CPUs whose vendor MKL does not know, twice as fast for the same numbers."""

import torch
from torch import Tensor, nn


class PackedLinear(nn.Linear):
    """A linear layer for inference that keeps a second copy of its weight, in the order in which it is read.

    torch multiplies float32 matrices with MKL, which leaves half of some processors' vector units idle; oneDNN, which
    it has for convolutions, does not. inductor calls the same operator.
    """

    def __init__(self, layer: nn.Linear):
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.weight, self.bias = layer.weight, layer.bias
        packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach())
        self.packed = packed  # no buffer: it can neither be saved nor moved

    def forward(self, input: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(input, self.packed, self.bias, "none", [], "")


def pack_linears(network: nn.Module) -> None:
    """From now on the network's linear layers compute in oneDNN's layout, in place; float32 on a CPU, for inference.

    Weights that are loaded afterwards are not seen. Does nothing where torch was built without oneDNN.
    """
    if not torch.backends.mkldnn.is_available():
        return
    for module in network.modules():
        for name, child in module.named_children():
            if (
                type(child) is nn.Linear
                and child.weight.dtype == torch.float32
                and child.weight.device.type == "cpu"
            ):
                setattr(module, name, PackedLinear(child))
