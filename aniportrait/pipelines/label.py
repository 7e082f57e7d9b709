"""A visible label and tags that say a video is synthetic."""

from functools import lru_cache

import cv2
import numpy as np

TEXT = "AI-generated"
TAGS = {
    "comment": "Synthetic: the person did not say or do this. Generated with AniPortrait.",
}
"""Of every file that is written, with the label or without."""
MARGIN = 0.02
"""Of the picture's shorter side."""


def labelled(frame: np.ndarray) -> np.ndarray:
    """A copy of (h, w, 3) uint8 that says AI-generated in its lower left corner, white on a darkened strip."""
    height, width = frame.shape[:2]
    strip = _strip(min(width, 4 * height), height)
    rows, columns = strip.shape
    marked = frame.copy()
    corner = marked[height - rows :, :columns]
    corner[:] = np.where(strip[..., None] > 0, np.maximum(corner // 2, strip[..., None]), corner // 2)
    return marked


@lru_cache(maxsize=8)
def _strip(width: int, height: int) -> np.ndarray:
    """(rows, columns) uint8 of the text for pictures of this size: a fifteenth of the height, or what fits."""
    font, margin = cv2.FONT_HERSHEY_SIMPLEX, max(1, round(MARGIN * min(width, height)))
    (text_width, text_height), below = cv2.getTextSize(TEXT, font, 1.0, 2)
    scale = min(height / 15 / text_height, (width - 2 * margin) / text_width)
    rows = round((text_height + below) * scale) + 2 * margin
    columns = min(width, round(text_width * scale) + 2 * margin)
    # drawn large and shrunk: OpenCV's smallest strokes cannot be read
    drawn = np.zeros((text_height + below, text_width), np.uint8)
    cv2.putText(drawn, TEXT, (0, text_height), font, 1.0, 255, 2, cv2.LINE_AA)
    inner = cv2.resize(drawn, (columns - 2 * margin, max(1, rows - 2 * margin)), interpolation=cv2.INTER_AREA)
    return np.pad(inner, ((margin, rows - 2 * margin - inner.shape[0] + margin), (margin, margin)))
