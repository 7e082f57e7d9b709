"""Whether generated faces make the expressions that true faces make, taken together."""

import torch
from torch import Tensor

from aniportrait.evaluation.frechet_distance import VideoFrechetDistance
from aniportrait.evaluation.video_metric import NotScoredError
from aniportrait.evaluation.video_pair import ScoredVideo


class BlendshapeFrechetDistance(VideoFrechetDistance):
    """Squared Frechet distance of MediaPipe's 52 blendshape coefficients, each in [0, 1], over frames with a face.

    It asks what E-FID asks, of other numbers: E-FID is taken of the expression coefficients of a 3D morphable model,
    and the two don't compare. Frames without a face are left out on their own side alone.
    """

    topic = "face"
    width = 52
    digits = 4
    backend = "MediaPipe's blendshape coefficients of all frames with a face; not E-FID, whose coefficients are others"

    def features(self, video: ScoredVideo) -> Tensor:
        """(n, 52) coefficients of the frames with a face."""
        if not video.track.valid.any():
            raise NotScoredError("no frame has a face")
        return torch.from_numpy(video.track.blendshapes[video.track.valid])
