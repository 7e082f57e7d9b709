"""Structural similarity of videos."""

from typing import cast

from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from aniportrait.evaluation.frame_by_frame import FrameByFrameMetric
from aniportrait.face.track import FaceTrack


class VideoSSIM(FrameByFrameMetric):
    """Of each frame (Wang et al. 2004), mean over its three colours, then over frames."""

    backend = "torchmetrics, per frame on [0, 1] RGB, Gaussian window of 11 pixels"
    higher_is_better = True
    digits = 4
    chunk = 1

    def of_frames(self, ours: Tensor, real: Tensor, track: FaceTrack) -> Tensor:
        """(n,) at most 1."""
        similarity = structural_similarity_index_measure(
            ours / 2 + 0.5, real / 2 + 0.5, data_range=1.0, reduction="none"
        )
        return cast(Tensor, similarity).reshape(-1)
