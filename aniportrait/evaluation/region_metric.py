"""Scores of one region of moving pixels."""

from aniportrait.evaluation.moving_regions import known_region
from aniportrait.evaluation.video_metric import ClipMeanMetric


class RegionMetric(ClipMeanMetric):
    """The mean over clips of a figure of how one region's pixels move, against the real video's.

    Args:
        region: "mouth", "background" or "whole", where the real video's landmarks are.
    """

    topic = "motion"
    backend = "pixels, [0, 1] RGB; mouth and background by MediaPipe's landmarks of the real frames"
    needs = frozenset({"real"})
    higher_is_better: bool | None = None

    def __init__(self, region: str = "whole", **kwargs):
        super().__init__(**kwargs)
        self.region = known_region(region)
