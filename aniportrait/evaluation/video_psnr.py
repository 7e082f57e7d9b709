"""Peak signal-to-noise ratio of videos."""

import torch
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio

from aniportrait.evaluation.frame_by_frame import FrameByFrameMetric
from aniportrait.evaluation.video_pair import VideoPair
from aniportrait.face.track import FaceTrack


class VideoPSNR(FrameByFrameMetric):
    """Of each frame, then the mean over frames that have any error; infinite for a clip that has none."""

    backend = "torchmetrics, per frame on [0, 1] RGB; frames without any error are left out"
    higher_is_better = True
    unit = "dB"
    digits = 2

    def figure(self, pair: VideoPair) -> Tensor:
        """() dB."""
        figure = super().figure(pair)
        return torch.full_like(figure, torch.inf) if figure.isnan() else figure

    def of_frames(self, ours: Tensor, real: Tensor, track: FaceTrack) -> Tensor:
        """(n,) dB, nan where there is no error."""
        ratio = peak_signal_noise_ratio(
            ours / 2 + 0.5, real / 2 + 0.5, data_range=1.0, dim=(1, 2, 3), reduction="none"
        )
        return ratio.masked_fill(ratio.isinf(), torch.nan)
