"""Whether brows, lids and forehead move as much as the true ones, mm squared."""

from torch import Tensor

from aniportrait.evaluation.lip_vertex_error import MM_PER_CM
from aniportrait.evaluation.per_clip import PerClipMetric, mean_over_frames, std_over_frames
from aniportrait.face.topology import UPPER_FACE


class UpperFaceDynamicsDeviation(PerClipMetric):
    """FDD: how much the true upper face moves, less how much the generated one does, mm^2; signed, 0 is right.

    Of each vertex the standard deviation over time of its squared distance from rest, mean over the upper face's
    vertices, as CodeTalker (arXiv 2301.02379) computes it; positive where too little moves. There the rest is the
    person's neutral mesh. A filmed face has none, so each mesh rests at its own mean over the clip, and a face that
    is merely of another shape scores 0. Vertices are (b, f, 468, 3) in cm.
    """

    higher_is_better = None
    unit = "mm²"

    def _scores(self, prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        return upper_face_dynamics(target, valid) - upper_face_dynamics(prediction, valid)


def upper_face_dynamics(vertices: Tensor, valid: Tensor) -> Tensor:
    """(b, f, 468, 3) cm, (b, f) bool -> (b,) mm^2."""
    upper = MM_PER_CM * vertices[..., UPPER_FACE.tolist(), :]
    motion = upper - mean_over_frames(upper, valid[..., None, None])[:, None]
    return std_over_frames(motion.square().sum(dim=-1), valid[..., None]).mean(dim=-1)
