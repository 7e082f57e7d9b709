"""A face in the mirror: left and right change places, in every measurement of it."""

import numpy as np

from aniportrait.face.topology import FLIP, FLIP_POINTS

_TURN = np.diag((-1.0, 1.0, 1.0, 1.0)).astype(np.float32)


def mirrored_landmarks(landmarks: np.ndarray) -> np.ndarray:
    """(..., 478, 2 or 3) landmarks in [0, 1] of the mirrored picture."""
    mirrored = np.array(landmarks[..., FLIP_POINTS, :])
    mirrored[..., 0] = 1 - mirrored[..., 0]
    return mirrored


def mirrored_vertices(vertices: np.ndarray) -> np.ndarray:
    """(..., 468, 3) metric meshes, cm."""
    mirrored = np.array(vertices[..., FLIP, :])
    mirrored[..., 0] *= -1
    return mirrored


def mirrored_pose_matrix(pose_matrix: np.ndarray) -> np.ndarray:
    """(..., 4, 4) canonical face -> camera: mirrored before and after, so that it stays a rotation."""
    turn = _TURN.astype(pose_matrix.dtype)
    return turn @ pose_matrix @ turn
