"""Windows: which frames of a long video are denoised together, and how much each says about a frame."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Window(NamedTuple):
    """Frames denoised together: their indices (n,), and the weights (n,) of what is predicted for each."""

    frames: Tensor
    weights: Tensor


class Windows(Protocol):
    """Divides `frames` frames into windows that cover each of them."""

    def __call__(self, frames: int) -> list[Window]: ...


@dataclass(frozen=True)
class _Lengths:
    context_length: int = 16
    context_overlap: int | None = None

    def __post_init__(self) -> None:
        _check(self.context_length, self.overlap)

    @property
    def overlap(self) -> int:
        """Frames that neighbours share."""
        return self.context_length // 4 if self.context_overlap is None else self.context_overlap


@dataclass(frozen=True)
class OpenWindows(_Lengths):
    """Windows from the first frame to the last, evenly spread, that fade into one another.

    Args:
        context_length: frames of a window.
        context_overlap: frames that neighbours share, at least; None: a quarter of the window.
    """

    def __call__(self, frames: int) -> list[Window]:
        length, overlap = min(self.context_length, frames), self.overlap
        gaps = math.ceil((frames - length) / (self.context_length - overlap))
        starts = [round(i * (frames - length) / gaps) for i in range(gaps)] if gaps else []
        return [self._window(start, length, frames) for start in (*starts, frames - length)]

    def _window(self, start: int, length: int, frames: int) -> Window:
        """Weights rise over the overlap from an inner end; the video's ends belong to one window alone."""
        position = torch.arange(length)
        edge = self.overlap + 1
        rise = ((position + 1) / edge).clamp(max=1) if start > 0 else torch.ones(length)
        fall = ((length - position) / edge).clamp(max=1) if start + length < frames else torch.ones(length)
        return Window(position + start, torch.minimum(rise, fall))


@dataclass(frozen=True)
class ClosedLoopWindows(_Lengths):
    """AniPortrait's windows: equal weights, and the last wraps onto the first frames, as in a loop.

    Args:
        context_length: frames of a window.
        context_overlap: frames that neighbours share; None: a quarter of the window.
    """

    def __call__(self, frames: int) -> list[Window]:
        indices = closed_loop_indices(frames, self.context_length, self.overlap)
        return [Window(torch.tensor(window), torch.ones(len(window))) for window in indices]


def closed_loop_indices(
    frames: int,
    context_length: int,
    context_overlap: int,
    *,
    strides: int = 1,
    step: int = 0,
    closed: bool = True,
) -> Iterator[list[int]]:
    """The frame indices of AniPortrait's `uniform` windows, which AnimateDiff's tools share.

    Args:
        frames: of the video.
        context_length, context_overlap: of a window.
        strides: number of scales; scale i takes every 2^i-th frame, so far as the video is long enough.
        step: of the sampler, which shifts all windows. AniPortrait always says 0.
        closed: whether windows start up to the last frame, rather than `context_overlap` before it.
    """
    if frames <= context_length:
        yield list(range(frames))
        return
    shift = bit_reversed_fraction(step)
    pad = round(frames * shift)
    end = frames + pad - (0 if closed else context_overlap)
    for scale in range(min(strides, math.ceil(math.log2(frames / context_length)) + 1)):
        stride = 2**scale
        for start in range(int(shift * stride) + pad, end, context_length * stride - context_overlap):
            yield [(start + i * stride) % frames for i in range(context_length)]


def bit_reversed_fraction(step: int) -> float:
    """Van der Corput's sequence: 0, 1/2, 1/4, 3/4, 1/8, ... spreads the shifts of successive steps."""
    fraction, half = 0.0, 0.5
    while step:
        fraction += half * (step % 2)
        step, half = step // 2, half / 2
    return fraction


def _check(context_length: int, context_overlap: int) -> None:
    if context_length < 1:
        raise ValueError(f"context_length ({context_length}) must be at least 1")
    if not 0 <= context_overlap < context_length:
        raise ValueError(
            f"context_overlap ({context_overlap}) must be smaller than context_length ({context_length}), "
            "and not negative"
        )
