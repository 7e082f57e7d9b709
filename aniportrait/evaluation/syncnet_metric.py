"""What the three figures of SyncNet have in common."""

from abc import abstractmethod

from torch import Tensor

from aniportrait.evaluation.syncnet_reader import syncnet_reader
from aniportrait.evaluation.syncnet_views import View
from aniportrait.evaluation.video_metric import ClipMeanMetric
from aniportrait.evaluation.video_pair import VideoPair


class SyncNetMetric(ClipMeanMetric):
    """A figure of SyncNet's distances between the lips and the sound of generated videos of 25 fps.

    Metrics of equal arguments share one network and one reading of each video.

    Args:
        weights: path of `syncnet_v2.model`.
        view: LandmarkerCrop or WholeFrame.
    """

    topic = "sound"
    needs = frozenset({"sound"})

    def __init__(self, weights: str | None, view: View, **kwargs):
        super().__init__(**kwargs)
        self.reader = syncnet_reader(weights, view)
        self.backend = (
            f"SyncNet (joonson/syncnet_python), weights sha256 {self.reader.sha256[:12]}, "
            f"{view.protocol}, shifts of 15 frames"
        )

    def figure(self, pair: VideoPair) -> Tensor:
        return self.statistic(self.reader(pair.generated))

    @staticmethod
    @abstractmethod
    def statistic(distances: Tensor) -> Tensor:
        """(31,) mean distances by shift -> ()."""
