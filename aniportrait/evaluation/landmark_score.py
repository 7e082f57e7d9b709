"""Scores of detected landmarks."""

import torch
from torch import Tensor

from aniportrait.evaluation.face_score import FaceScore
from aniportrait.evaluation.video_pair import ScoredVideo


class LandmarkScore(FaceScore):
    """A score of the landmarks detected on the generated frames, against those of the real frames.

    They are where they are in the picture, not aligned: a head that is elsewhere counts as one that looks different.
    """

    backend = "MediaPipe FaceLandmarker's 478 landmarks, both videos"

    def points(self, video: ScoredVideo) -> Tensor:
        return landmarks_in_picture(video)


def landmarks_in_picture(video: ScoredVideo) -> Tensor:
    """(f, 478, 2) float64 x, y in shares of the picture's shorter side: [0, 1] where it is square."""
    height, width = video.frames.shape[-2:]
    sides = torch.tensor((width, height), dtype=torch.float64) / min(width, height)
    return torch.from_numpy(video.track.landmarks[..., :2]).double() * sides
