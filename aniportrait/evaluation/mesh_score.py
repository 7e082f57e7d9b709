"""Scores of detected metric meshes."""

import torch
from torch import Tensor

from aniportrait.evaluation.face_score import FaceScore
from aniportrait.evaluation.video_pair import ScoredVideo


class MeshScore(FaceScore):
    """A score of the metric meshes detected on the generated video, against those of the real one.

    The meshes are (f, 468, 3) in cm with the head's motion removed, and in the size of MediaPipe's canonical face:
    millimetres are those of an average head. The detector's own error is in every figure: read them beside those of
    the real video after the same compression.
    """

    backend = (
        "MediaPipe FaceLandmarker's landmarks and geometry: the metric mesh of 468 vertices, both videos"
    )

    def points(self, video: ScoredVideo) -> Tensor:
        return torch.from_numpy(video.track.vertices).double()
