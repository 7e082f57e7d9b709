"""How far vertex velocities are off on average, mm per frame."""

from torch import Tensor

from aniportrait.evaluation.lip_vertex_error import MM_PER_CM
from aniportrait.evaluation.per_clip import PerClipMetric, mean_over_frames
from aniportrait.evaluation.vertex_error import region_vertices


class VelocityError(PerClipMetric):
    """Difference of vertices' movements from one frame to the next, mm per frame.

    Averaged over a region's vertices and the pairs of neighbouring frames that are both valid.

    Args:
        region: "all", "lips" or "upper_face".
    """

    higher_is_better = False
    unit = "mm per frame"

    def __init__(self, region: str = "lips", **kwargs):
        super().__init__(**kwargs)
        self.vertices = region_vertices(region)

    def _scores(self, prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        velocity = (prediction - target)[..., self.vertices, :].diff(dim=1)
        pairs = valid[:, 1:] & valid[:, :-1]
        return mean_over_frames(MM_PER_CM * velocity.norm(dim=-1).mean(dim=-1), pairs)
