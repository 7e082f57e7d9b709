"""How sharp a face is drawn."""

import cv2
import numpy as np

LARGEST = 256
"""Side of the square picture, in pixels, at which larger ones are measured too."""


def sharpness(square: np.ndarray, landmarks: np.ndarray) -> float:
    """Spread of the Laplacian over the face in parts of the spread of its brightness.

    Contrast cancels out. An enlarged or blurred face has little of it: see Gates.min_sharpness.

    Args:
        square: (n, n, 3) uint8 RGB.
        landmarks: (478, 3), normalised to the square.
    """
    gray = cv2.cvtColor(square, cv2.COLOR_RGB2GRAY)
    if gray.shape[0] > LARGEST:
        gray = cv2.resize(gray, (LARGEST, LARGEST), interpolation=cv2.INTER_AREA)
    size = gray.shape[0]
    low = np.clip(np.floor(landmarks[:, :2].min(axis=0) * size), 0, size - 2).astype(int)
    high = np.clip(np.ceil(landmarks[:, :2].max(axis=0) * size), low + 2, size).astype(int)
    face = gray[low[1] : high[1], low[0] : high[0]]
    return float(cv2.Laplacian(face, cv2.CV_32F).std() / max(1e-3, float(face.std())))
