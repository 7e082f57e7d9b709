"""How far the eyes are from blinking as often as the true ones."""

from aniportrait.evaluation.blink_rate import BlinkRate
from aniportrait.evaluation.video_metric import real_video
from aniportrait.evaluation.video_pair import VideoPair


class BlinkRateError(BlinkRate):
    """Absolute difference of the generated and the real video's blinks per minute, of frames with a face in both.

    In a clip of s seconds one blink is 60 / s, so short clips score high whoever made them: hold it against the figure
    of other real clips, and only clips of one length against each other.

    Args:
        shut, opened: thresholds of MediaPipe's eyeBlink coefficients; see BlinkThresholds.
    """

    needs = frozenset({"real"})
    higher_is_better = False

    def figure(self, pair: VideoPair) -> float:
        valid = self.valid(pair).numpy()
        ours, true = (
            self.thresholds.per_minute(video, valid) for video in (pair.generated, real_video(pair))
        )
        return abs(ours - true)
