"""A driving film -> the landmarks of a portrait moving as its face does."""

from collections.abc import Callable

import numpy as np
from scipy.signal import savgol_filter

from aniportrait.face.canonical import CanonicalFace
from aniportrait.face.head_pose import pose_matrices, project
from aniportrait.pipelines.expression import AS_THEY_ARE, ExpressionStrength, speaking_offsets
from aniportrait.pipelines.head_motion import PoseTemplate
from aniportrait.pipelines.landmark_track import LandmarkTrack
from aniportrait.pipelines.picture import Picture
from aniportrait.pipelines.retargeting import Retargeting

FILM_SMOOTHING = 3
"""Frames over which a driving head's motion is averaged."""
PORTION = 1024
"""Frames whose meshes are in memory at a time."""


def driven_landmarks(
    picture: Picture,
    driving: LandmarkTrack,
    face: CanonicalFace,
    strength: ExpressionStrength = AS_THEY_ARE,
    head_pose: np.ndarray | None = None,
    speech: Callable[[int, int], np.ndarray] | None = None,
) -> np.ndarray:
    """The driver's expressions and motion on the portrait's own face.

    Args:
        picture: the portrait.
        driving: the film's face; its frames are the result's.
        face: the canonical face.
        strength: of the expressions.
        head_pose: (f, 6) motion from the portrait's pose; None for the driver's own.
        speech: says what a voice does to the mouth, in place of the driver's: offsets (n, 468, 3) in cm from rest of
            the frames from a first to before a last one.
    Returns:
        (f, 468, 2) float32 landmarks in [0, 1].
    """
    pose = picture.track.pose_matrix[0]
    if head_pose is None:
        head_pose = PoseTemplate.of_film(driving, pose, smoothing=FILM_SMOOTHING).head_pose
    retargeting = Retargeting.between(picture.track, driving.face, face)
    matrices = pose_matrices(head_pose, pose)
    points = np.empty((len(driving.face), len(retargeting.portrait), 2), np.float32)
    for begin in range(0, len(points), PORTION):
        end = min(begin + PORTION, len(points))
        offsets = retargeting(driving.face.vertices[begin:end], steadied(driving, begin, end))
        if speech is not None:
            offsets = speaking_offsets(speech(begin, end), offsets, face)
        meshes = strength.face(retargeting.portrait, offsets, face)
        points[begin:end] = project(meshes, matrices[begin:end], 1, 1)
    return points


def steadied(driving: LandmarkTrack, begin: int, end: int) -> np.ndarray:
    """(end - begin, 468, 3) meshes without the landmarker's trembling: frames begin to end, whatever portion is asked.

    A parabola is fitted to the 0.08 s on either side (Savitzky and Golay, 1964), which halves the trembling
    and leaves what lasts longer than a frame; a film of fewer than 19 frames per second stays as it is.
    """
    half = round(0.08 * driving.fps)
    first, last = max(0, begin - half), min(len(driving.face), end + half)
    vertices = driving.face.vertices[first:last]
    if half > 1:
        vertices = np.asarray(savgol_filter(vertices, 2 * half + 1, 2, axis=0, mode="nearest"))
    return vertices[begin - first : end - first]
