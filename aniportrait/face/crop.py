"""The square around a face that preparation and animation share."""

from dataclasses import dataclass

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
        return resized(square, size)

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


def resized(square: np.ndarray, size: int) -> np.ndarray:
    """(n, n, 3) uint8 -> (size, size, 3): averaged when it shrinks, cubic when it grows."""
    if square.shape[0] == size:
        return square.copy()
    interpolation = cv2.INTER_AREA if size < square.shape[0] else cv2.INTER_CUBIC
    return cv2.resize(square, (size, size), interpolation=interpolation)
