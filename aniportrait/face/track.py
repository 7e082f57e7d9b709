"""The face of one person through a video, as the landmarker measured it."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class FaceTrack:
    """Measurements of one face in `f` frames.

    Args:
        landmarks: (f, 478, 3) float32; x, y in [0, 1] of the image's sides (may leave it); z relative.
        vertices: (f, 468, 3) float32 metric mesh with head motion removed, cm.
        pose_matrix: (f, 4, 4) float32, canonical face -> camera, cm.
        blendshapes: (f, 52) float32 MediaPipe coefficients, "_neutral" first.
        valid: (f,) bool; False where no face was found: the other arrays are interpolated or zero there.
    """

    landmarks: np.ndarray
    vertices: np.ndarray
    pose_matrix: np.ndarray
    blendshapes: np.ndarray
    valid: np.ndarray

    def __len__(self) -> int:
        return len(self.valid)

    def __getitem__(self, frames: slice) -> "FaceTrack":
        return FaceTrack(
            self.landmarks[frames],
            self.vertices[frames],
            self.pose_matrix[frames],
            self.blendshapes[frames],
            self.valid[frames],
        )
