"""The scores of faces that were detected again on generated frames, together."""

from collections.abc import Sequence

import torch
from torch import Tensor

from aniportrait.evaluation.landmark_distance import LandmarkDistance
from aniportrait.evaluation.mouth_opening_correlation import MouthOpeningCorrelation
from aniportrait.evaluation.mouth_opening_spread import MouthOpeningSpread
from aniportrait.face.track import FaceTrack


class DetectedSuite:
    """Scores detected faces against the landmarks that drove them and the true frames' faces.

    `frames` and `missing` count the frames given and those in which no face was found; these are in no other figure.
    """

    def __init__(self):
        self.distance = LandmarkDistance()
        self.opening_spread = MouthOpeningSpread()
        self.opening_correlation = MouthOpeningCorrelation()
        self.frames = 0
        self.missing = 0

    def update(self, found: FaceTrack, driving: Tensor, true: FaceTrack) -> None:
        """Takes the scores of one clip.

        Args: found, true: faces detected on the generated and on the true frames; driving (f, 478, 2 or 3) in [0, 1].
        """
        valid = torch.from_numpy(found.valid)
        self.frames += len(valid)
        self.missing += int((~valid).sum())
        points = torch.from_numpy(found.landmarks)[..., : driving.shape[-1]]
        self.distance.update(points[None], driving[None], valid[None])
        both = (valid & torch.from_numpy(true.valid))[None]
        ours, theirs = (torch.from_numpy(track.vertices)[None] for track in (found, true))
        self.opening_spread.update(ours, theirs, both)
        self.opening_correlation.update(ours, theirs, both)

    def per_clip(self) -> dict[str, Tensor]:
        """landmark_distance, mouth_opening_spread, mouth_opening_correlation -> (n,) one value per clip."""
        return {
            "landmark_distance": self.distance.per_clip,
            "mouth_opening_spread": self.opening_spread.per_clip,
            "mouth_opening_correlation": self.opening_correlation.per_clip,
        }


def missing_faces(suites: Sequence[DetectedSuite]) -> str:
    """As in 2 of 130: frames in which no face was found, of all frames of these suites."""
    return f"{sum(suite.missing for suite in suites)} of {sum(suite.frames for suite in suites)}"
