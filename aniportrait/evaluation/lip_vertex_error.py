"""How far the worst lip vertex is off, mm."""

from torch import Tensor

from aniportrait.evaluation.per_clip import PerClipMetric, mean_over_frames
from aniportrait.face.topology import LIPS

MM_PER_CM = 10.0


class LipVertexError(PerClipMetric):
    """Largest distance of a lip vertex from its true place, averaged over frames, mm.

    The unsquared form, which some papers call LVE; the squared form of CodeTalker and torchmetrics is
    SquaredLipVertexError. Vertices are (b, f, 468, 3) in cm, head motion removed; lips are the 40 vertices of
    both lip rings.
    """

    higher_is_better = False
    unit = "mm"

    def _scores(self, prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        return mean_over_frames(worst_lip_distance(prediction, target), valid)


def worst_lip_distance(prediction: Tensor, target: Tensor) -> Tensor:
    """(b, f, 468, 3) cm, twice -> (b, f) mm: the largest distance over the lip vertices."""
    lips = LIPS.tolist()
    distance = (prediction[..., lips, :] - target[..., lips, :]).norm(dim=-1)
    return MM_PER_CM * distance.amax(dim=-1)
