"""Peak signal-to-noise ratio of videos."""

from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio

from aniportrait.evaluation.frame_by_frame import FrameByFrameMetric
from aniportrait.face.track import FaceTrack


class VideoPSNR(FrameByFrameMetric):
    """Of each frame, then the mean over frames; infinite for a clip with a frame that has no error at all."""

    backend = "torchmetrics, per frame on [0, 1] RGB"
    higher_is_better = True
    unit = "dB"
    digits = 2

    def of_frames(self, ours: Tensor, real: Tensor, track: FaceTrack) -> Tensor:
        """(n,) dB."""
        return peak_signal_noise_ratio(
            ours / 2 + 0.5, real / 2 + 0.5, data_range=1.0, dim=(1, 2, 3), reduction="none"
        )
