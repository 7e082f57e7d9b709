"""Regions of a video's pixels, a few frames at a time: a minute at 512 x 512 is 5 GB in float32."""

from collections.abc import Iterator

import torch
from torch import Tensor

from aniportrait.evaluation.face_regions import regions
from aniportrait.evaluation.video_metric import NotScoredError, real_video
from aniportrait.evaluation.video_pair import ScoredVideo, VideoPair

REGIONS = ("mouth", "background", "whole")
CHUNK = 2
"""Frames. On a CPU 16 at 512 x 512 take five times as long a frame as 2 or 1: they leave its caches."""


def known_region(region: str) -> str:
    """The region's name; ValueError where there is none of it."""
    if region not in REGIONS:
        raise ValueError(f"region ({region}) must be one of {', '.join(REGIONS)}")
    return region


def region_mask(video: ScoredVideo, region: str, first: int, after: int) -> Tensor:
    """(after - first, h, w) bool of a video's frames; nothing in frames without a face, but for "whole"."""
    landmarks = torch.from_numpy(video.track.landmarks[None, first:after])
    mask = regions(landmarks, *video.frames.shape[-2:])[region][0]
    if region == "whole":
        return mask
    return mask & torch.from_numpy(video.track.valid[first:after])[:, None, None]


def neighbouring_frames(
    pair: VideoPair, region: str, device: torch.device
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Every two frames that follow each other, as clips of two frames; the region is the real video's.

    Yields: generated and real (n, 2, 3, h, w) in [-1, 1], the region (n, 2, h, w) bool.
    """
    real = real_video(pair)
    if len(real) < 2:
        raise NotScoredError("a single frame does not change")
    for first in range(0, len(real) - 1, CHUNK):
        after = min(first + CHUNK + 1, len(real))
        mask = region_mask(real, region, first, after)
        rows, columns = surrounding(mask.any(dim=0))
        ours, true = (
            to_floats(video.frames[first:after, :, rows, columns].to(device))
            for video in (pair.generated, real)
        )
        yield _pairs(ours), _pairs(true), _pairs(mask[:, rows, columns].to(device))


def _pairs(frames: Tensor) -> Tensor:
    return torch.stack((frames[:-1], frames[1:]), dim=1)


def surrounding(mask: Tensor) -> tuple[slice, slice]:
    """The rows and the columns of a mask (h, w) that hold all that is in it: other pixels need not be looked at."""
    rows, columns = (mask.any(dim=dim).nonzero().flatten().tolist() or [0] for dim in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def to_floats(frames: Tensor) -> Tensor:
    """uint8 RGB -> float32 in [-1, 1]."""
    return frames.float() / 127.5 - 1


def touched_pixels(video: ScoredVideo, region: str) -> Tensor:
    """(h, w) bool: in the region in any frame."""
    touched = torch.zeros(video.frames.shape[-2:], dtype=torch.bool)
    for first in range(0, len(video), CHUNK):
        touched |= region_mask(video, region, first, min(first + CHUNK, len(video))).any(dim=0)
    return touched
