"""Frames of the square around a face -> the whole picture, moving."""

from collections.abc import Iterable, Iterator

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
        fading = (crop.y0 > 0, crop.y1 < height, crop.x0 > 0, crop.x1 < width)
        self._weight = _soft_border(crop.side, *fading)[self._shown][..., None]
        self._beneath = (1 - self._weight) * image[self._place]
        self._border = _border(crop.side, *self._shown)
        self._border_colours = resized(crop.cut(image, crop.side), SMALL)[self._border].astype(np.float32)

    def __call__(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """(n, n, 3) uint8 squares of any size -> (h, w, 3) uint8 pictures, one at a time."""
        for frame in frames:
            yield self._laid_over(frame)

    def _laid_over(self, frame: np.ndarray) -> np.ndarray:
        square = resized(frame, self._side)[self._shown].astype(np.float32)
        square += self._tint(frame)
        square *= self._weight
        square += self._beneath
        whole = self._image.copy()
        whole[self._place] = np.rint(square, out=square).clip(0, 255, out=square)
        return whole

    def _tint(self, frame: np.ndarray) -> np.ndarray:
        """(3,) levels to add to a frame."""
        differences = np.sort(self._border_colours - resized(frame, SMALL)[self._border], axis=0)
        if not len(differences):  # hardly any of the square is in the picture
            return np.zeros(3, np.float32)
        quarter = len(differences) // 4
        return differences[quarter : len(differences) - quarter].mean(axis=0).clip(-MOST_TINT, MOST_TINT)


def _soft_border(side: int, top: bool, bottom: bool, left: bool, right: bool) -> np.ndarray:
    """(side, side) float32: 1 inside, falling to 0 at the sides that are True."""
    steps = (np.arange(side) + 0.5) / max(BORDER * side, 0.5)

    def ramp(begin: bool, end: bool) -> np.ndarray:
        distance = np.full(side, 1.0)
        if begin:
            distance = np.minimum(distance, steps)
        if end:
            distance = np.minimum(distance, steps[::-1])
        return 0.5 - 0.5 * np.cos(np.pi * distance)

    return np.outer(ramp(top, bottom), ramp(left, right)).astype(np.float32)


def _border(side: int, rows: slice, columns: slice) -> np.ndarray:
    """(SMALL, SMALL) bool: about the edge of the part of a square that rows and columns show."""
    centres = (np.arange(SMALL) + 0.5) * side / SMALL
    down, across = (np.minimum(centres - shown.start, shown.stop - centres) for shown in (rows, columns))
    distance = np.minimum.outer(down, across)
    return (distance > 0) & (distance < BORDER * side)
