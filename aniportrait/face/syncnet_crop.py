"""The square of a film that SyncNet is shown: the whole face, shifted down.

As run_pipeline.py of https://github.com/joonson/syncnet_python cuts it.
"""

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from scipy.signal import medfilt

CROP_SCALE = 0.4
"""Of half the box's longer side: added at the left and the right, and twice at the bottom."""
SMOOTHED = 13
"""Frames of the median filter over the boxes' centres and sizes; beyond the ends it sees zeros, as theirs does."""
BORDER = 110
"""What lies outside of the picture."""


def syncnet_crops(frames: Iterable[np.ndarray], boxes: np.ndarray, size: int = 224) -> Iterator[np.ndarray]:
    """Cut the face out of every frame.

    With s half the longer side of a frame's box and (x, y) its centre, all three median-filtered over time: from
    x - 1.4 s to x + 1.4 s and from y - s to y + 1.8 s, in whole pixels.

    Args:
        frames: (h, w, 3) uint8 each.
        boxes: (f, 4) x0, y0, x1, y1 in pixels.
        size: side of what is cut out.
    Yields:
        (size, size, 3) uint8.
    """
    x0, y0, x1, y1 = np.asarray(boxes, np.float64).T
    reach, x, y = (
        medfilt(values, SMOOTHED)
        for values in (np.maximum(x1 - x0, y1 - y0) / 2, (x0 + x1) / 2, (y0 + y1) / 2)
    )
    sideways = reach * (1 + CROP_SCALE)
    edges = (x - sideways, y - reach, x + sideways, y + reach * (1 + 2 * CROP_SCALE))
    squares = np.floor(np.stack(edges, axis=1)).astype(int)
    for frame, (left, top, right, bottom) in zip(frames, squares.tolist(), strict=True):
        yield whole_frame(_cut(frame, left, top, max(right, left + 1), max(bottom, top + 1)), size)


def whole_frame(frame: np.ndarray, size: int = 224) -> np.ndarray:
    """(h, w, 3) uint8 -> (size, size, 3), whatever its shape was, between the four nearest pixels: OpenCV's default."""
    return cv2.resize(frame, (size, size), interpolation=cv2.INTER_LINEAR)


def _cut(frame: np.ndarray, left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """[left, right) x [top, bottom) of a picture, with the border's grey where there is none."""
    square = np.full((bottom - top, right - left, frame.shape[2]), BORDER, frame.dtype)
    rows, columns = (slice(max(0, low), max(0, high)) for low, high in ((top, bottom), (left, right)))
    seen = frame[rows, columns]
    y, x = max(0, -top), max(0, -left)
    square[y : y + seen.shape[0], x : x + seen.shape[1]] = seen
    return square
