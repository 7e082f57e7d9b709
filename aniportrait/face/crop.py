"""The square around a face that preparation and animation share, and the way back into the picture."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np


@dataclass(frozen=True)
class SquareCrop:
    """A square of whole pixels [x0, x1) x [y0, y1) of a picture; it may leave the picture."""

    x0: int
    y0: int
    x1: int
    y1: int

    def __post_init__(self) -> None:
        if self.x1 <= self.x0 or self.x1 - self.x0 != self.y1 - self.y0:
            raise ValueError(
                f"crop [{self.x0}, {self.x1}) x [{self.y0}, {self.y1}) must be a square of at least one pixel"
            )

    @property
    def side(self) -> int:
        return self.x1 - self.x0

    def cut(self, image: np.ndarray, size: int) -> np.ndarray:
        """The square as (size, size, channels); outside of the picture its edge pixels are repeated."""
        height, width = image.shape[:2]
        if self.x0 >= 0 and self.y0 >= 0 and self.x1 <= width and self.y1 <= height:
            square = image[self.y0 : self.y1, self.x0 : self.x1]
        else:
            rows = np.clip(np.arange(self.y0, self.y1), 0, height - 1)
            columns = np.clip(np.arange(self.x0, self.x1), 0, width - 1)
            square = image[rows[:, None], columns]
        return _resize(square, size)

    def to_crop(self, landmarks: np.ndarray, width: int, height: int) -> np.ndarray:
        """Normalised landmarks (..., 2 or 3) of the whole picture -> normalised to this square."""
        moved = np.array(landmarks, dtype=np.float32)
        moved[..., 0] = (landmarks[..., 0] * width - self.x0) / self.side
        moved[..., 1] = (landmarks[..., 1] * height - self.y0) / self.side
        moved[..., 2:] = landmarks[..., 2:] * (width / self.side)
        return moved

    def from_crop(self, landmarks: np.ndarray, width: int, height: int) -> np.ndarray:
        """Landmarks (..., 2 or 3) normalised to this square -> normalised to the whole picture."""
        moved = np.array(landmarks, dtype=np.float32)
        moved[..., 0] = (landmarks[..., 0] * self.side + self.x0) / width
        moved[..., 1] = (landmarks[..., 1] * self.side + self.y0) / height
        moved[..., 2:] = landmarks[..., 2:] * (self.side / width)
        return moved

    def paste_back(self, frame: np.ndarray, patch: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """A copy of the frame with the patch laid over this square.

        Args:
            frame: (h, w, 3) uint8.
            patch: (n, n, 3) uint8 of any size.
            mask: (m, m) float in [0, 1] of any size, 1 where the patch shows; `soft_mask` when left out.
        """
        height, width = frame.shape[:2]
        top, left = max(self.y0, 0), max(self.x0, 0)
        bottom, right = min(self.y1, height), min(self.x1, width)
        pasted = frame.copy()
        if bottom <= top or right <= left:
            return pasted
        within = (slice(top - self.y0, bottom - self.y0), slice(left - self.x0, right - self.x0))
        weight = soft_mask(self.side) if mask is None else _resize(mask.astype(np.float32), self.side)
        weight = weight[within][..., None]
        laid = _resize(patch, self.side)[within].astype(np.float32)
        beneath = frame[top:bottom, left:right].astype(np.float32)
        pasted[top:bottom, left:right] = np.rint(beneath + weight * (laid - beneath)).astype(np.uint8)
        return pasted


def face_crop(landmarks: np.ndarray, width: int, height: int, margin: float = 0.4) -> SquareCrop:
    """The square about the box of all landmarks, of all frames when there are several.

    Args:
        landmarks: (..., n, 2 or 3) normalised to the picture.
        width, height: the picture's size in pixels.
        margin: what is added on each side, in parts of the box's longer side; 0.4 leaves the face 56 %.
    """
    if margin < 0.0:
        raise ValueError(f"margin ({margin}) must not be negative")
    points = np.asarray(landmarks, dtype=np.float64)[..., :2].reshape(-1, 2) * (width, height)
    if len(points) == 0 or not np.isfinite(points).all():
        raise ValueError(f"landmarks {landmarks.shape} must be finite points, at least one")
    low, high = points.min(axis=0), points.max(axis=0)
    side = max(2, round(float((high - low).max()) * (1.0 + 2.0 * margin)))
    x0, y0 = np.rint((low + high) / 2.0 - side / 2.0).astype(int).tolist()
    return SquareCrop(x0, y0, x0 + side, y0 + side)


@lru_cache(maxsize=8)
def soft_mask(side: int, feather: float = 0.1) -> np.ndarray:
    """(side, side) float32: 1 inside, falling to 0 at the border over `feather` of the side."""
    distance = (np.minimum(np.arange(side), np.arange(side)[::-1]) + 0.5) / max(feather * side, 0.5)
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.clip(distance, 0.0, 1.0))
    mask = np.outer(ramp, ramp).astype(np.float32)
    mask.flags.writeable = False
    return mask


def _resize(image: np.ndarray, size: int) -> np.ndarray:
    """Square image -> (size, size, ...): averaged when it shrinks, cubic when it grows."""
    if image.shape[0] == size:
        return image.copy()
    shrinking = size < image.shape[0]
    floating = image.dtype != np.uint8
    enlarging = cv2.INTER_LINEAR if floating else cv2.INTER_CUBIC  # a mask must not overshoot [0, 1]
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinking else enlarging)
