"""A voice -> the landmarks of a portrait speaking."""

from collections.abc import Callable

import numpy as np

from aniportrait.face.canonical import CanonicalFace
from aniportrait.face.head_pose import pose_matrices, project
from aniportrait.pipelines.expression import AS_THEY_ARE, ExpressionStrength
from aniportrait.pipelines.picture import Picture
from aniportrait.pipelines.resting_face import resting_mesh

PORTION = 1024
"""Frames whose meshes are in memory at a time."""


def speaking_landmarks(
    picture: Picture,
    speech: Callable[[int, int], np.ndarray],
    head_pose: np.ndarray,
    face: CanonicalFace,
    strength: ExpressionStrength = AS_THEY_ARE,
) -> np.ndarray:
    """A portrait that speaks and moves its head. What its mouth is doing is taken out first.

    Args:
        picture: the portrait.
        speech: what a voice does to a face at rest: offsets (n, 468, 3) in cm of the frames from a first to before a
            last one, as SpeechOffsets says.
        head_pose: (f, 6) motion from the portrait's pose.
        face: the canonical face.
        strength: of the expressions.
    Returns:
        (f, 468, 2) float32 landmarks in [0, 1].
    """
    matrices = pose_matrices(head_pose, picture.track.pose_matrix[0])
    rest = resting_mesh(picture.track.vertices[0], picture.track.blendshapes[0], face)
    points = np.empty((len(matrices), len(rest), 2), np.float32)
    for begin in range(0, len(points), PORTION):
        end = min(begin + PORTION, len(points))
        meshes = strength.face(rest, speech(begin, end), face)
        points[begin:end] = project(meshes, matrices[begin:end], 1, 1)
    return points
