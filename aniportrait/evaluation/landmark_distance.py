"""How far a face is from where it was told to be."""

from torch import Tensor

from aniportrait.evaluation.face_regions import face_boxes
from aniportrait.evaluation.per_clip import PerClipMetric, mean_over_frames
from aniportrait.evaluation.vertex_error import region_vertices


class LandmarkDistance(PerClipMetric):
    """Mean distance of detected landmarks from the driving ones, in percent of the driving face's size.

    The size is the square root of the area of the driving landmarks' box; depth is left out. Frames in which no face
    was detected are not valid and not in the mean: whoever reports it has to count them.

    Args:
        region: whose landmarks: "all" (F-LMD in the literature), "lips" (M-LMD) or "upper_face"; the size is that of
            the whole face all the same.
    """

    higher_is_better = False
    unit = "% of face size"

    def __init__(self, region: str = "all", **kwargs):
        super().__init__(**kwargs)
        self.points = region_vertices(region)

    def update(self, prediction: Tensor, target: Tensor, valid: Tensor) -> None:
        """Args: prediction, target (b, f, n, 2 or 3) landmarks in [0, 1] of square pictures, detected and driving;
        valid (b, f) bool, where a face was detected."""
        super().update(prediction, target, valid)

    def _scores(self, prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        x0, y0, x1, y1 = face_boxes(target).unbind(dim=-1)
        distance = (prediction - target)[..., self.points, :2].norm(dim=-1).mean(dim=-1)
        return mean_over_frames(100 * distance / ((x1 - x0) * (y1 - y0)).sqrt(), valid)
