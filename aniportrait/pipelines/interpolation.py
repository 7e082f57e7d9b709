"""Frames between sampled ones: their two neighbours, moved to the landmarks of their own time and blended.

Optical flow knows only the neighbours, and what happens between them it takes for a straight way. The landmarks of
every frame are known here, so that lips that close for a single frame close.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache

import cv2
import numpy as np
from scipy.interpolate import LinearNDInterpolator
from threadpoolctl import ThreadpoolController

from aniportrait.face.topology import INNER_LIPS, LEFT_EYE, LIPS, OVAL, RIGHT_EYE, VERTICES

FOREHEAD, CHIN = 10, 152
SLITS = (INNER_LIPS, RIGHT_EYE, LEFT_EYE)
"""Rings whose halves meet when they close: what lies on either side moves against the other."""

SITES = np.unique(np.concatenate((OVAL, LIPS, RIGHT_EYE, LEFT_EYE, np.arange(0, VERTICES, 4))))
"""(201,) vertices that carry the picture: more follow the landmarks' noise, fewer lose the lips."""

_QUARTERS = np.stack(np.meshgrid(*[np.linspace(0, 1, 5)] * 2), axis=-1).reshape(-1, 2)
BORDER = _QUARTERS[np.isin(_QUARTERS, (0, 1)).any(axis=1)]
"""(16, 2) points on the picture's border, which stay."""

GRID = 128
"""Cells per side on which displacements are computed before they are enlarged, except about the slits."""

STILL = 0.002
"""Of the picture's side: landmarks that moved less than this say little about which neighbour is nearer."""

OPENING = 0.02
"""Pixels that closed lips and lids are held apart, so that it stays clear which is the upper one."""


def keyframe_indices(frames: int, stride: int) -> np.ndarray:
    """Indices of the frames to sample: every `stride`-th from the first on, and the last."""
    if frames < 1 or stride < 1:
        raise ValueError(f"frames ({frames}) and stride ({stride}) must be at least 1")
    return np.unique(np.append(np.arange(0, frames, stride), frames - 1))


def interpolated(keyframes: Iterable[np.ndarray], points: np.ndarray, stride: int) -> Iterator[np.ndarray]:
    """All frames in order: the keyframes as they are, and those between; two keyframes are held at a time.

    Args:
        keyframes: (h, w, 3) uint8, the frames at `keyframe_indices(f, stride)`.
        points: (f, 468 or more, 2) landmarks of every frame, in [0, 1].
        stride: of the keyframes.
    """
    if points.ndim != 3 or points.shape[1] < VERTICES or points.shape[2] != 2:
        raise ValueError(f"points {points.shape} must have the shape (f, {VERTICES} or more, 2)")
    if not np.isfinite(points).all():
        raise ValueError(f"points {points.shape} must be finite")
    return _in_order(iter(keyframes), points, keyframe_indices(len(points), stride))


def _in_order(
    keyframes: Iterator[np.ndarray], points: np.ndarray, indices: np.ndarray
) -> Iterator[np.ndarray]:
    before = _drawn(keyframes, 0, len(indices))
    yield before
    for number in range(1, len(indices)):
        after = _drawn(keyframes, number, len(indices))
        if after.shape != before.shape:
            raise ValueError(
                f"keyframe {number} has the shape {after.shape}, not {before.shape} as those before"
            )
        first, last = indices[number - 1], indices[number]
        for index in range(first + 1, last):
            time = float((index - first) / (last - first))  # NumPy's own would make float64 of float32
            yield _between(before, after, points[first], points[index], points[last], time)
        yield after
        before = after
    if next(keyframes, None) is not None:
        raise ValueError(f"keyframes must be {len(indices)}, as many as the points ask for, and not more")


def _drawn(keyframes: Iterator[np.ndarray], number: int, count: int) -> np.ndarray:
    keyframe = next(keyframes, None)
    if keyframe is None:
        raise ValueError(f"keyframes ({number}) must be {count}, as many as the points ask for")
    return keyframe


def _between(
    before: np.ndarray,
    after: np.ndarray,
    points_before: np.ndarray,
    points: np.ndarray,
    points_after: np.ndarray,
    time: float,
) -> np.ndarray:
    """The frame at `time`, 0 (before) to 1 (after), at which the landmarks are `points`."""
    height, width = before.shape[:2]
    to_before, to_after = points_before - points, points_after - points
    share = _share_of_before(to_before, to_after, time)
    carried = np.concatenate((to_before * (width, height), to_after * (width, height), share), axis=1)
    resting = np.array((0.0, 0.0, 0.0, 0.0, 1 - time))
    field = _spread(points, carried, resting, height, width)
    columns, rows = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    pictures = [
        cv2.remap(picture, columns + x, rows + y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        for picture, x, y in ((before, field[0], field[1]), (after, field[2], field[3]))
    ]
    return cv2.blendLinear(pictures[0], pictures[1], field[4], 1 - field[4])


def _share_of_before(to_before: np.ndarray, to_after: np.ndarray, time: float) -> np.ndarray:
    """(n, 1) weight at each landmark of the picture before: by time where it rests, else more to the nearer one.

    When lips part, the neighbour in which they are apart knows what is seen between them.
    """
    far_before, far_after = (
        (np.linalg.norm(way, axis=1, keepdims=True) + STILL) ** 2 for way in (to_before, to_after)
    )
    return (1 - time) * far_after / ((1 - time) * far_after + time * far_before)


def _spread(
    points: np.ndarray, carried: np.ndarray, resting: np.ndarray, height: int, width: int
) -> Sequence[np.ndarray]:
    """What landmarks carry (n, c), affine between them and the border's (c,): c times (h, w) float32."""
    places = _held_open(points, OPENING / height)[SITES]
    seen = ((places > 0) & (places < 1)).all(axis=1)
    surface = LinearNDInterpolator(
        np.concatenate((places[seen], BORDER)),
        np.concatenate((carried[SITES][seen], np.tile(resting, (len(BORDER), 1)))),
    )
    columns, rows = min(GRID, width), min(GRID, height)
    field = _sampled(surface, (np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns)
    if (rows, columns) != (height, width):
        field = cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR)
        for ring in SLITS:
            (left, top), (right, bottom) = points[ring].min(axis=0), points[ring].max(axis=0)
            y = np.arange(max(int(top * height) - 2, 0), min(int(bottom * height) + 3, height))
            x = np.arange(max(int(left * width) - 2, 0), min(int(right * width) + 3, width))
            if len(y) and len(x):
                field[np.ix_(y, x)] = _sampled(surface, (y + 0.5) / height, (x + 0.5) / width)
    return cv2.split(field)


def _sampled(surface: LinearNDInterpolator, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    # Of every triangle it inverts a 2 x 2 matrix: threads would wait for each other, up to 100 times as long.
    with _thread_pools().limit(limits=1, user_api="blas"):
        return surface(columns[None, :], rows[:, None]).astype(np.float32)


@cache
def _thread_pools() -> ThreadpoolController:
    """Looking for them takes longer than what they are limited for."""
    return ThreadpoolController()


def _held_open(points: np.ndarray, opening: float) -> np.ndarray:
    """The points with the upper half of each slit above the lower one, in the face's own direction.

    Lips that touch share their places, and those of a computed mesh cross: the upper would be torn into the lower.
    """
    held = np.array(points, dtype=np.float64)
    up = held[FOREHEAD] - held[CHIN]
    up /= max(float(np.linalg.norm(up)), 1e-9)
    for ring in SLITS:
        half = len(ring) // 2
        upper, lower = ring[:half:-1], ring[1:half]
        missing = np.clip(opening - (held[upper] - held[lower]) @ up, 0, None)[:, None] / 2
        held[upper] += missing * up
        held[lower] -= missing * up
    return held
