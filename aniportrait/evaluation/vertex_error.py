"""How far vertices are off on average, mm."""

from torch import Tensor

from aniportrait.evaluation.lip_vertex_error import MM_PER_CM
from aniportrait.evaluation.per_clip import PerClipMetric, mean_over_frames
from aniportrait.face.topology import LIPS, UPPER_FACE

REGIONS = {"all": slice(None), "lips": LIPS.tolist(), "upper_face": UPPER_FACE.tolist()}


class VertexError(PerClipMetric):
    """Distance of vertices from their true places, averaged over a region and over frames, mm.

    Args:
        region: "all" (MVE, FVE in the literature), "lips" or "upper_face".
    """

    higher_is_better = False
    unit = "mm"

    def __init__(self, region: str = "all", **kwargs):
        super().__init__(**kwargs)
        self.vertices = region_vertices(region)

    def _scores(self, prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        distance = (prediction - target)[..., self.vertices, :].norm(dim=-1)
        return mean_over_frames(MM_PER_CM * distance.mean(dim=-1), valid)


def region_vertices(region: str) -> slice | list[int]:
    """Indices into the 468 vertices of a region by name."""
    if region not in REGIONS:
        raise ValueError(f"region ({region}) must be one of {', '.join(REGIONS)}")
    return REGIONS[region]
