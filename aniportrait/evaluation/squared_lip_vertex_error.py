"""The lip vertex error of the literature, mm squared."""

from torch import Tensor

from aniportrait.evaluation.lip_vertex_error import worst_lip_distance
from aniportrait.evaluation.per_clip import PerClipMetric, mean_over_frames


class SquaredLipVertexError(PerClipMetric):
    """Largest squared distance of a lip vertex from its true place, averaged over frames, mm^2.

    LVE as CodeTalker (arXiv 2301.02379) and torchmetrics' lip_vertex_error compute it. Vertices are
    (b, f, 468, 3) in cm.
    """

    higher_is_better = False
    unit = "mm²"

    def _scores(self, prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        return mean_over_frames(worst_lip_distance(prediction, target).square(), valid)
