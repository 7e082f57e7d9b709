"""By how much sound and lips are apart, without trained weights."""

from aniportrait.evaluation.landmark_sync import LANDMARK_SYNC, landmark_sync
from aniportrait.evaluation.video_metric import ClipMeanMetric
from aniportrait.evaluation.video_pair import VideoPair


class AvOffset(ClipMeanMetric):
    """Mean over clips of the seconds between the lips and the sound that fits them best, whichever comes first.

    Where sound and lips do not belong together it is any time up to 1 s: read it beside AvAgreement. On films in sync
    it is 0.05 s in the median, with swapped sound 0.6 s (27 clips of 4 s and more).
    """

    topic = "sound"
    needs = frozenset({"sound"})
    backend = LANDMARK_SYNC
    unit = "s"
    higher_is_better = False

    def figure(self, pair: VideoPair) -> float:
        return abs(landmark_sync(pair.generated).lag)
