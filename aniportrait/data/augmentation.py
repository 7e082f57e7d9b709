"""Changes of a training item that keep its pictures and its landmarks together: crop, mirror, colours."""

from dataclasses import dataclass

import cv2
import numpy as np

from aniportrait.data.transforms import resized
from aniportrait.face.crop import SquareCrop
from aniportrait.face.mirror import mirrored_landmarks


@dataclass(frozen=True)
class Augmentation:
    """How much training items may change; the default leaves them as they are.

    Args:
        flip_chance: how often an item is mirrored.
        smallest_crop: side of the smallest square cut out, in parts of the picture's; the face stays inside.
        colour_change: see `recoloured`.
    """

    flip_chance: float = 0.0
    smallest_crop: float = 1.0
    colour_change: float = 0.0

    def __post_init__(self) -> None:
        for name in ("flip_chance", "colour_change"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must be from 0 to 1")
        if not 0 < self.smallest_crop <= 1:
            raise ValueError(f"smallest_crop ({self.smallest_crop}) must be above 0, and at most 1")

    @property
    def changes_pixels(self) -> bool:
        """Whether pictures can come out other than they are stored."""
        return self.flip_chance > 0 or self.smallest_crop < 1 or self.colour_change > 0

    def geometry(self, landmarks: np.ndarray, size: int, generator: np.random.Generator) -> "Geometry":
        """A crop and a mirror drawn for an item.

        Args:
            landmarks: (f, 478, 3) in [0, 1] of every picture of the item, portrait included.
            size: side of the pictures, pixels.
        """
        square = None
        if self.smallest_crop < 1:
            square = square_around(landmarks, size, generator.uniform(self.smallest_crop, 1), generator)
        return Geometry(size, square, self.flip_chance > 0 and bool(generator.random() < self.flip_chance))


@dataclass(frozen=True)
class Geometry:
    """What becomes of the pictures of an item, and of the points on them.

    Args:
        size: side of the pictures, pixels.
        square: what is cut out; None: all.
        flip: whether it is mirrored.
    """

    size: int
    square: SquareCrop | None = None
    flip: bool = False

    @property
    def changes_nothing(self) -> bool:
        return self.square is None and not self.flip

    def of_landmarks(self, landmarks: np.ndarray) -> np.ndarray:
        """(..., 478, 3) in [0, 1] before -> after. A metric mesh and a pose that fit them follow from
        `face.canonical.metric_mesh`."""
        if self.square is not None:
            landmarks = self.square.to_crop(landmarks, self.size, self.size)
        return mirrored_landmarks(landmarks) if self.flip else landmarks

    def of_pictures(self, pictures: np.ndarray, size: int) -> np.ndarray:
        """(f, h, h, 3) uint8 -> (f, size, size, 3); what is given may be overwritten."""
        if self.square is not None:
            x, y = self.square.x0, self.square.y0
            pictures = pictures[:, y : y + self.square.side, x : x + self.square.side]
        pictures = resized(pictures, size)
        if self.flip:
            pictures = pictures if pictures.flags.c_contiguous else pictures.copy()
            for picture in pictures:
                cv2.flip(picture, 1, dst=picture)
        return pictures


def square_around(
    landmarks: np.ndarray, size: int, share: float, generator: np.random.Generator
) -> SquareCrop:
    """A square of whole pixels at a random place that the landmarks do not leave: where they need more than
    `share` of the picture's side, it is larger; where they leave the picture themselves, it is at its edge."""
    points = np.clip(landmarks[..., :2].reshape(-1, 2), 0, 1) * size
    low, high = np.floor(points.min(axis=0)).astype(int), np.ceil(points.max(axis=0)).astype(int)
    side = min(size, max(2, round(share * size), *(high - low).tolist()))
    x, y = (
        int(generator.integers(max(0, high[axis] - side), min(low[axis], size - side) + 1)) for axis in (0, 1)
    )
    return SquareCrop(x, y, x + side, y + side)
