"""A portrait and a driving video -> frames of the portrait moving as the video does."""

from collections.abc import Callable

import numpy as np

from aniportrait.face.head_pose import pose_matrices, project, relative_head_pose
from aniportrait.face.track import FaceTrack
from aniportrait.pipelines.picture import Picture
from aniportrait.pipelines.portrait import PortraitPipeline, SamplingSettings


def retargeted_landmarks(picture: Picture, driving: FaceTrack) -> np.ndarray:
    """(f, 468, 2) landmarks in [0, 1]: the driver's expression and motion on the portrait's own face.

    Expression is what moves against the driver's calmest frame (least sum of blendshapes, as in the original); motion
    is relative to the driver's first frame, so that the portrait starts as it is.
    """
    activity = driving.blendshapes[:, 1:].sum(axis=1)
    calmest = int(np.argmin(np.where(driving.valid, activity, np.inf)))
    expression = driving.vertices - driving.vertices[calmest]
    motion = relative_head_pose(driving.pose_matrix, driving.pose_matrix[0])
    matrices = pose_matrices(motion, picture.track.pose_matrix[0])
    return project(picture.track.vertices + expression, matrices, 1, 1)


class Reenact:
    """Motion of another face -> frames of the portrait.

    Args:
        portrait: the frame sampler.
    """

    def __init__(self, portrait: PortraitPipeline):
        self.portrait = portrait

    def __call__(
        self,
        picture: Picture,
        driving: FaceTrack,
        settings: SamplingSettings,
        progress: Callable[[int, int], None] | None = None,
    ) -> np.ndarray:
        """(f, h, w, 3) uint8 frames, as many as the driving track has."""
        points = retargeted_landmarks(picture, driving)
        return self.portrait(picture.image, picture.track.landmarks[0], points, settings, progress)
