"""Faces turned upright and cut out as networks that recognise people want them."""

import cv2
import numpy as np

from aniportrait.face.topology import LEFT_EYE, MOUTH_CORNERS, RIGHT_EYE

EYE_CORNERS = (0, 8)
"""Where an eye's ring has its outer and inner corner: their middle doesn't move when the eye looks or blinks."""
NOSE_TIP = 1

ARCFACE_SIZE = 112
ARCFACE_POINTS = np.array(
    ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))
)
"""(5, 2) pixels of a picture of 112: where insightface puts right eye, left eye, nose tip, mouth's corners."""


def five_points(landmarks: np.ndarray, width: int, height: int) -> np.ndarray:
    """Landmarks (..., 478, 2 or 3) in [0, 1] -> (..., 5, 2) in pixels, whose centres are whole numbers.

    The middles of the right and the left eye, the tip of the nose, the right and the left corner of the mouth; right
    is the person's own, at the left of the picture.
    """
    points = landmarks[..., :2] * (width, height) - 0.5
    eyes = [points[..., ring[list(EYE_CORNERS)], :].mean(axis=-2) for ring in (RIGHT_EYE, LEFT_EYE)]
    corners = [points[..., corner, :] for corner in MOUTH_CORNERS]
    return np.stack((*eyes, points[..., NOSE_TIP, :], *corners), axis=-2)


def similarity(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(2, 3): the rotation, scale and shift that bring points (n, 2) nearest to targets (n, 2), no mirroring."""
    # In the plane these are a z + b with complex a and b, so that least squares have one line.
    source, target = (side[:, 0] + 1j * side[:, 1] for side in (points, targets))
    centred = source - source.mean()
    a = np.vdot(centred, target - target.mean()) / np.vdot(centred, centred)
    b = target.mean() - a * source.mean()
    return np.array(((a.real, -a.imag, b.real), (a.imag, a.real, b.imag)))


def arcface_crop(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """A picture (h, w, 3) uint8 and its landmarks (478, 2 or 3) -> (112, 112, 3), as insightface cuts faces out.

    Bilinear, without a filter against aliasing, black outside of the picture: that is how its networks were trained.
    """
    height, width = image.shape[:2]
    move = similarity(five_points(landmarks, width, height), ARCFACE_POINTS)
    return cv2.warpAffine(image, move, (ARCFACE_SIZE, ARCFACE_SIZE), borderValue=(0, 0, 0))
