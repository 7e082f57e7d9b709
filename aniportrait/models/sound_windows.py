"""Long sounds through an encoder whose cost or attention grows with length: in windows that overlap."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor


def encoded_in_windows(
    encode: Callable[[Tensor, int], Tensor],
    audio: Tensor,
    frames: int,
    window: int,
    overlap: int,
) -> Tensor:
    """What `encode` says of a sound of any length, for the memory of one window.

    Windows have equal length to within a frame. Where two overlap, the middle half of the overlap fades from one
    to the other: what is nearest to a window's end has seen too little on one side and is not used.

    Args:
        encode: (audio (b, m), frames) -> (b, frames, c).
        audio: (b, n).
        frames: video frames the sound spans.
        window: most samples that are encoded at once.
        overlap: least samples that neighbouring windows share.
    Returns:
        (b, frames, c).
    """
    if not 0 < 3 * overlap <= window:  # or three windows would meet in one frame
        raise ValueError(f"overlap ({overlap}) must be positive and at most a third of window ({window})")
    samples = audio.shape[-1]
    if samples <= window or frames < 8:
        return encode(audio, frames)
    shared = max(2, -(-overlap * frames // samples))
    longest = max(3 * shared, window * frames // samples)
    count = -(-(frames - shared) // (longest - shared))
    edges = [round(i * (frames - shared) / count) for i in range(count + 1)]
    parts: list[Tensor] = []
    for first, after in pairwise(edges):
        last = after + shared
        part = audio[..., round(first * samples / frames) : round(last * samples / frames)]
        features = encode(part, last - first)
        if parts:
            before = parts.pop()
            faded = torch.lerp(before[:, -shared:], features[:, :shared], _fade(shared).to(features)[:, None])
            parts += [before[:, :-shared], faded, features[:, shared:]]
        else:
            parts.append(features)
    return torch.cat(parts, dim=1)


def _fade(frames: int) -> Tensor:
    """(frames,) from 0 to 1 over the middle half, constant before and after."""
    place = (torch.arange(frames) + 0.5) / frames
    return (2 * place - 0.5).clamp(0, 1)
