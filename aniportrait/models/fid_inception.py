"""The Inception-v3 of December 2015 that FID is defined by, with the key names of its published weights."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIZE = 299
Kernel = int | tuple[int, int]


class FIDInception(nn.Module):
    """Images -> 2048 numbers each: `pool_3` of TensorFlow's inception-2015-12-05.

    Not torchvision's Inception: average pools leave the padding out, the last block pools by maximum, and there are
    1008 classes. `fc` holds those: it is in the published file and no feature needs it.
    """

    width = 2048

    def __init__(self):
        super().__init__()
        self.Conv2d_1a_3x3 = Convolution(3, 32, 3, stride=2, padding=0)
        self.Conv2d_2a_3x3 = Convolution(32, 32, 3, padding=0)
        self.Conv2d_2b_3x3 = Convolution(32, 64, 3)
        self.Conv2d_3b_1x1 = Convolution(64, 80, 1)
        self.Conv2d_4a_3x3 = Convolution(80, 192, 3, padding=0)
        self.Mixed_5b = Mixed(192, wide_branches(), average, pool_channels=32)
        self.Mixed_5c = Mixed(256, wide_branches(), average, pool_channels=64)
        self.Mixed_5d = Mixed(288, wide_branches(), average, pool_channels=64)
        self.Mixed_6a = Mixed(288, FIRST_REDUCTION, halved)
        self.Mixed_6b = Mixed(768, long_branches(128), average, pool_channels=192)
        self.Mixed_6c = Mixed(768, long_branches(160), average, pool_channels=192)
        self.Mixed_6d = Mixed(768, long_branches(160), average, pool_channels=192)
        self.Mixed_6e = Mixed(768, long_branches(192), average, pool_channels=192)
        self.Mixed_7a = Mixed(768, SECOND_REDUCTION, halved)
        self.Mixed_7b = Mixed(1280, FORKED, average, pool_channels=192)
        self.Mixed_7c = Mixed(2048, FORKED, maximum, pool_channels=192)
        self.fc = nn.Linear(2048, 1008)

    def forward(self, images: Tensor) -> Tensor:
        """(b, 3, 299, 299), (RGB - 128) / 128 -> (b, 2048)."""
        hidden = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(images)))
        hidden = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(halved(hidden)))
        hidden = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(halved(hidden))))
        hidden = self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(hidden)))
        hidden = self.Mixed_6e(self.Mixed_6d(hidden))
        hidden = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(hidden)))
        return hidden.mean(dim=(2, 3))


class Convolution(nn.Module):
    """Convolution, batch norm, ReLU; padded to keep its input's size unless told otherwise."""

    def __init__(
        self, inputs: int, outputs: int, kernel: Kernel, stride: int = 1, padding: int | None = None
    ):
        super().__init__()
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        around = (height // 2, width // 2) if padding is None else padding
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, around, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, hidden: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(hidden)))


@dataclass(frozen=True)
class Branch:
    """Convolutions one after the other.

    Args:
        name: of the modules: alone where there is one, else followed by _1, _2, ...
        steps: (channels, kernel) of each.
        halves: the last one halves the picture, without padding.
        fork: channels of a 1x3 and a 3x1 convolution that follow side by side, _3a and _3b after a second step.
    """

    name: str
    steps: tuple[tuple[int, Kernel], ...]
    halves: bool = False
    fork: int | None = None


def wide_branches() -> tuple[Branch, ...]:
    """At 35 x 35: 1x1, 5x5 and two 3x3."""
    return (
        Branch("branch1x1", ((64, 1),)),
        Branch("branch5x5", ((48, 1), (64, 5))),
        Branch("branch3x3dbl", ((64, 1), (96, 3), (96, 3))),
    )


def long_branches(inner: int) -> tuple[Branch, ...]:
    """At 17 x 17: 7x7 as rows and columns, once and twice."""
    row, column = (1, 7), (7, 1)
    twice = ((inner, 1), (inner, column), (inner, row), (inner, column), (192, row))
    return (
        Branch("branch1x1", ((192, 1),)),
        Branch("branch7x7", ((inner, 1), (inner, row), (192, column))),
        Branch("branch7x7dbl", twice),
    )


FIRST_REDUCTION = (
    Branch("branch3x3", ((384, 3),), halves=True),
    Branch("branch3x3dbl", ((64, 1), (96, 3), (96, 3)), halves=True),
)
SECOND_REDUCTION = (
    Branch("branch3x3", ((192, 1), (320, 3)), halves=True),
    Branch("branch7x7x3", ((192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3)), halves=True),
)
FORKED = (
    Branch("branch1x1", ((320, 1),)),
    Branch("branch3x3", ((384, 1),), fork=384),
    Branch("branch3x3dbl", ((448, 1), (384, 3)), fork=384),
)


class Mixed(nn.Module):
    """Branches side by side, and a pool that a 1x1 convolution follows where `pool_channels` says so."""

    def __init__(
        self,
        inputs: int,
        branches: tuple[Branch, ...],
        pool: Callable[[Tensor], Tensor],
        pool_channels: int | None = None,
    ):
        super().__init__()
        self.pool = pool
        self.routes = [self._route(inputs, branch) for branch in branches]
        self.branch_pool = Convolution(inputs, pool_channels, 1) if pool_channels else nn.Identity()

    def forward(self, hidden: Tensor) -> Tensor:
        outputs = []
        for steps, ends in self.routes:
            through = hidden
            for step in steps:
                through = self.get_submodule(step)(through)
            outputs += [self.get_submodule(end)(through) for end in ends] if ends else [through]
        return torch.cat((*outputs, self.branch_pool(self.pool(hidden))), dim=1)

    def _route(self, inputs: int, branch: Branch) -> tuple[list[str], list[str]]:
        """Add the branch's convolutions; the names of those in a row, and of those that end it side by side."""
        steps, ends = [], []
        alone = len(branch.steps) == 1 and branch.fork is None
        for number, (channels, kernel) in enumerate(branch.steps, start=1):
            steps.append(branch.name if alone else f"{branch.name}_{number}")
            last = branch.halves and number == len(branch.steps)
            self.add_module(steps[-1], Convolution(inputs, channels, kernel, **REDUCED if last else {}))
            inputs = channels
        if branch.fork is not None:
            for letter, kernel in (("a", (1, 3)), ("b", (3, 1))):
                ends.append(f"{branch.name}_{len(steps) + 1}{letter}")
                self.add_module(ends[-1], Convolution(inputs, branch.fork, kernel))
        return steps, ends


REDUCED = {"stride": 2, "padding": 0}


def halved(hidden: Tensor) -> Tensor:
    """Maximum of 3x3, every second."""
    return F.max_pool2d(hidden, kernel_size=3, stride=2)


def maximum(hidden: Tensor) -> Tensor:
    """Maximum of 3x3; the 2015 network has it where the paper has a mean, so FID has it too."""
    return F.max_pool2d(hidden, kernel_size=3, stride=1, padding=1)


def average(hidden: Tensor) -> Tensor:
    """Mean of 3x3, at the border of the values that are there."""
    return F.avg_pool2d(hidden, kernel_size=3, stride=1, padding=1, count_include_pad=False)
