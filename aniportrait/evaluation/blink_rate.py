"""How often the eyes blink."""

from aniportrait.evaluation.blinks import BlinkThresholds
from aniportrait.evaluation.face_metric import FaceMetric
from aniportrait.evaluation.video_pair import VideoPair


class BlinkRate(FaceMetric):
    """Blinks per minute of video in which a face is seen.

    Every shutting of the eyes is a blink, however long; eyes that are shut at the first frame have not blinked yet.
    People who talk blink about every two to five seconds: of clips of a few seconds only the mean over many says
    anything. It needs no real video.

    Args:
        shut, opened: thresholds of MediaPipe's eyeBlink coefficients; see BlinkThresholds.
    """

    topic = "motion"
    higher_is_better: bool | None = None
    backend = "MediaPipe FaceLandmarker's blendshapes eyeBlinkLeft and eyeBlinkRight, their mean"
    unit = "per minute"
    digits = 1

    def __init__(self, shut: float = 0.4, opened: float = 0.25, **kwargs):
        super().__init__(**kwargs)
        self.thresholds = BlinkThresholds(shut, opened)

    def figure(self, pair: VideoPair) -> float:
        return self.thresholds.per_minute(pair.generated, self.valid(pair).numpy())
