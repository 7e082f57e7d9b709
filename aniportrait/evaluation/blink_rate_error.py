"""How far the eyes are from blinking as often as the true ones."""

from aniportrait.evaluation.blinks import BlinkThresholds
from aniportrait.evaluation.face_metric import FaceMetric
from aniportrait.evaluation.video_metric import real_video
from aniportrait.evaluation.video_pair import VideoPair


class BlinkRateError(FaceMetric):
    """Absolute difference of the generated and the real video's blinks per minute, of frames with a face in both.

    In a clip of s seconds one blink is 60 / s, so short clips score high whoever made them: hold it against the figure
    of other real clips, and only clips of one length against each other.

    Args:
        shut, opened: thresholds of MediaPipe's eyeBlink coefficients; see BlinkThresholds.
    """

    topic = "motion"
    needs = frozenset({"real"})
    higher_is_better = False
    backend = "MediaPipe FaceLandmarker's blendshapes eyeBlinkLeft and eyeBlinkRight, their mean"
    unit = "per minute"
    digits = 1

    def __init__(self, shut: float = 0.4, opened: float = 0.25, **kwargs):
        super().__init__(**kwargs)
        self.thresholds = BlinkThresholds(shut, opened)

    def figure(self, pair: VideoPair) -> float:
        valid = self.valid(pair).numpy()
        ours, true = (
            self.thresholds.per_minute(video, valid) for video in (pair.generated, real_video(pair))
        )
        return abs(ours - true)
