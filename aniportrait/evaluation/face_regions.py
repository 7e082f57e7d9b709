"""Where in a picture the face and the mouth are, from landmarks."""

import torch
from torch import Tensor

from aniportrait.evaluation.face_l1 import inside
from aniportrait.face.topology import LIPS

MOUTH_MARGIN = 0.25
"""Of the lips' width, added on every side: what moves with the lips belongs to the mouth."""


def face_boxes(landmarks: Tensor) -> Tensor:
    """Landmarks (..., n, 2 or 3) in [0, 1] -> (..., 4) x0, y0, x1, y1 around all of them."""
    points = landmarks[..., :2]
    return torch.cat((points.amin(dim=-2), points.amax(dim=-2)), dim=-1)


def mouth_boxes(landmarks: Tensor) -> Tensor:
    """Landmarks (..., 468 or more, 2 or 3) in [0, 1] -> (..., 4) x0, y0, x1, y1 around the lips, with a margin."""
    boxes = face_boxes(landmarks[..., LIPS.tolist(), :])
    margin = MOUTH_MARGIN * (boxes[..., 2] - boxes[..., 0])
    return boxes + torch.stack((-margin, -margin, margin, margin), dim=-1)


def regions(landmarks: Tensor, height: int, width: int) -> dict[str, Tensor]:
    """Landmarks (b, f, 478, 2 or 3) in [0, 1] -> mouth, background (outside the face), whole: (b, f, h, w) bool."""
    return {
        "mouth": inside(mouth_boxes(landmarks), height, width),
        "background": ~inside(face_boxes(landmarks), height, width),
        "whole": torch.ones((*landmarks.shape[:2], height, width), dtype=torch.bool),
    }
