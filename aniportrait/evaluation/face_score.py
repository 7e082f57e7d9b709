"""What is known to score tensors of faces, applied to the faces of two videos."""

from abc import abstractmethod

from torch import Tensor

from aniportrait.evaluation.face_metric import FaceMetric
from aniportrait.evaluation.per_clip import PerClipMetric
from aniportrait.evaluation.video_metric import NotScoredError, real_video
from aniportrait.evaluation.video_pair import ScoredVideo, VideoPair


class FaceScore(FaceMetric):
    """The mean over clips of a score of the generated video's faces against the real one's.

    Args:
        score: the formula, whose unit and direction are this metric's own. It keeps nothing.
    """

    needs = frozenset({"real"})

    def __init__(self, score: PerClipMetric, **kwargs):
        super().__init__(**kwargs)
        self.score = score
        self.unit, self.digits = score.unit, score.digits

    @property
    def higher_is_better(self) -> bool | None:
        """As the formula has it."""
        return self.score.higher_is_better

    @abstractmethod
    def points(self, video: ScoredVideo) -> Tensor:
        """(f, ...) float64: what the formula is about."""

    def figure(self, pair: VideoPair) -> Tensor:
        ours, true = (self.points(video)[None] for video in (pair.generated, real_video(pair)))
        figure = self.score.scores(ours, true, self.valid(pair)[None])
        if figure.isnan():
            raise NotScoredError("the real face does not move, or no two neighbouring frames show both faces")
        return figure
