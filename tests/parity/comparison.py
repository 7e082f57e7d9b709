"""What a row of the parity table says: how far ours lies from theirs, and how far it may."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

EXACT = 0.0
NETWORK = 1e-4
"""Of the tensor's maximum."""


@dataclass(frozen=True)
class Check:
    """One comparison.

    Args:
        case: what was compared.
        difference: worst |ours - theirs|, in the unit that the case names or else relative to the largest
            |theirs|; of lists, the share that differs.
        bound: the largest difference that passes; EXACT for equality.
        remark: what a reader of the row should know.
    """

    case: str
    difference: float
    bound: float = NETWORK
    remark: str = ""

    @property
    def passed(self) -> bool:
        return self.difference <= self.bound  # nan is not


@dataclass(frozen=True)
class Skipped:
    """A case that cannot be compared on this machine, and why."""

    case: str
    reason: str


def difference(ours: Tensor, theirs: Tensor) -> float:
    """Largest |ours - theirs| relative to the largest |theirs|; nan if either holds one."""
    gap, largest = distance(ours, theirs), float(theirs.double().abs().max())
    return gap / largest if largest > 0 else gap


def distance(ours: Tensor, theirs: Tensor) -> float:
    """Largest |ours - theirs|, in their unit; nan if either holds one."""
    if ours.shape != theirs.shape:
        raise ValueError(f"ours has the shape {tuple(ours.shape)}, the fixture {tuple(theirs.shape)}")
    return float((ours.detach().double() - theirs.double()).abs().max())


def worst(pairs: Iterable[tuple[Tensor, Tensor]]) -> float:
    """The largest difference of several pairs of ours and theirs."""
    return float(torch.tensor([difference(ours, theirs) for ours, theirs in pairs]).max())


def share_that_differs(ours: Sequence[object], theirs: Sequence[object]) -> float:
    """Of two lists of equal things, the share of places that hold unequal ones."""
    places = max(len(ours), len(theirs))
    equal = sum(mine == yours for mine, yours in zip(ours, theirs, strict=False))
    return (places - equal) / places if places else 0.0
