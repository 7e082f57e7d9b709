"""Frames of the square around a face -> the whole picture, moving."""

import math
from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from aniportrait.face.crop import SquareCrop, resized

BORDER = 0.1
"""Width of the soft border in sides of the square."""
SMALL = 64
"""Side at which colours of the border are compared, pixels."""
MOST_TINT = 16.0
"""Levels. A border that differs by more shows something else, not the same in another tint."""


class PastedBack:
    """Lays frames over a square of a picture.

    Each side of the square fades into the picture, save those where the picture ends. A tint that all of its border
    has against the picture's, as networks give it, is taken from the whole frame: the mean of the middle half of the
    differences, which hair and shoulders that move there hardly change. Every frame is treated by itself.

    Args:
        image: (h, w, 3) uint8.
        crop: the square.
    """

    def __init__(self, image: np.ndarray, crop: SquareCrop):
        height, width = image.shape[:2]
        top, left = max(crop.y0, 0), max(crop.x0, 0)
        bottom, right = min(crop.y1, height), min(crop.x1, width)
        if top >= bottom or left >= right:
            raise ValueError(
                f"crop [{crop.x0}, {crop.x1}) x [{crop.y0}, {crop.y1}) lies outside of the picture's {width} x {height}"
            )
        self._image, self._side = image, crop.side
        self._place = slice(top, bottom), slice(left, right)
        self._shown = slice(top - crop.y0, bottom - crop.y0), slice(left - crop.x0, right - crop.x0)
        self._fading = _fading(
            image[self._place], crop.side, (crop.y0 > 0, crop.y1 < height), (crop.x0 > 0, crop.x1 < width)
        )
        self._border = _border(crop.side, *self._shown)
        self._border_colours = crop.cut(image, SMALL)[self._border].astype(np.float32)

    def __call__(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """(n, n, 3) uint8 squares of any size -> (h, w, 3) uint8 pictures, one at a time."""
        for frame in frames:
            yield self._laid_over(frame)

    def _laid_over(self, frame: np.ndarray) -> np.ndarray:
        levels = np.arange(256, dtype=np.float32)[:, None] + self._tint(frame)
        square = cv2.LUT(resized(frame, self._side), np.rint(levels).clip(0, 255).astype(np.uint8)[None])
        square = square[self._shown]
        whole = self._image.copy()
        whole[self._place] = square
        for strip, weight, beneath in self._fading:
            whole[self._place][strip] = np.rint(square[strip] * weight + beneath)
        return whole

    def _tint(self, frame: np.ndarray) -> np.ndarray:
        """(3,) levels to add to a frame."""
        differences = np.sort(self._border_colours - resized(frame, SMALL)[self._border], axis=0)
        if not len(differences):  # hardly any of the square is in the picture
            return np.zeros(3, np.float32)
        quarter = len(differences) // 4
        return differences[quarter : len(differences) - quarter].mean(axis=0).clip(-MOST_TINT, MOST_TINT)


_Strip = tuple[tuple[slice, slice], np.ndarray, np.ndarray]


def _fading(
    beneath: np.ndarray, side: int, rows: tuple[bool, bool], columns: tuple[bool, bool]
) -> list[_Strip]:
    """The strips of the visible part that are not all of the frame: where, the frame's weight, the picture's share.

    Args:
        beneath: (h, w, 3) the picture there.
        side: of the square.
        rows, columns: whether the first fades, and the last.
    """
    height, width = beneath.shape[:2]
    weight = np.outer(_ramp(height, side, *rows), _ramp(width, side, *columns)).astype(np.float32)[..., None]
    reach = math.ceil(BORDER * side)
    top, left = min(rows[0] * reach, height), min(columns[0] * reach, width)
    bottom, right = max(top, height - rows[1] * reach), max(left, width - columns[1] * reach)
    strips = (
        (slice(0, top), slice(0, width)),
        (slice(bottom, height), slice(0, width)),
        (slice(top, bottom), slice(0, left)),
        (slice(top, bottom), slice(right, width)),
    )
    shares = ((strip, weight[strip]) for strip in strips)
    return [(strip, share, (1 - share) * beneath[strip]) for strip, share in shares if share.size]


def _ramp(length: int, side: int, begin: bool, end: bool) -> np.ndarray:
    """(length,) 1, falling to 0 over BORDER of the side at the ends that are True."""
    steps = (np.arange(length) + 0.5) / (BORDER * side)
    distance = np.ones(length)
    if begin:
        distance = np.minimum(distance, steps)
    if end:
        distance = np.minimum(distance, steps[::-1])
    return 0.5 - 0.5 * np.cos(np.pi * distance)


def _border(side: int, rows: slice, columns: slice) -> np.ndarray:
    """(SMALL, SMALL) bool: about the edge of the part of a square that rows and columns show."""
    centres = (np.arange(SMALL) + 0.5) * side / SMALL
    down, across = (np.minimum(centres - shown.start, shown.stop - centres) for shown in (rows, columns))
    distance = np.minimum.outer(down, across)
    return (distance > 0) & (distance < BORDER * side)
