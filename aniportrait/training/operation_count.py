"""How many operations a piece of work takes, counted while it is done and without changing a bit of it."""

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class OperationCount(TorchDispatchMode):
    """As a context: `total` operations of matrix products, convolutions and attention inside, forward and backward.

    By torch's own formulas. Its FlopCounterMode computes gradients of SiLU in parts, which rounds otherwise: a run
    counted at its first step would not be the one that is not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        operations = flop_registry.get(func._overloadpacket)
        if operations is not None:
            self.total += operations(*args, **(kwargs or {}), out_val=result)
        return result
