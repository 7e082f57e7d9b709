"""Whether the mouth opens when it should, but for a constant delay."""

import torch
from torch import Tensor

from aniportrait.evaluation.mouth_opening_correlation import mouth_opening, opening_correlation
from aniportrait.evaluation.per_clip import PerClipMetric


class BestMouthOpeningCorrelation(PerClipMetric):
    """MouthOpeningCorrelation at the lag, of those up to `reach_ms` either way, where a clip's is highest.

    Films are often a little out of sync, and the same for all of a clip. The best of several lags is above
    zero even for a mouth that follows nothing: read it beside the same score with another clip's sound.

    Args:
        fps: of the meshes.
        reach_ms: largest lag, milliseconds.
    """

    higher_is_better = True

    def __init__(self, fps: float = 25.0, reach_ms: float = 120.0, **kwargs):
        super().__init__(**kwargs)
        self.reach = int(reach_ms / 1000 * fps + 1e-6)

    def _scores(self, prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        ours, true = mouth_opening(prediction), mouth_opening(target)
        frames = valid.shape[1]
        reach = min(self.reach, frames - 1)
        lagged = [
            opening_correlation(
                ours[:, max(0, lag) : frames + min(0, lag)],
                true[:, max(0, -lag) : frames + min(0, -lag)],
                valid[:, max(0, lag) : frames + min(0, lag)] & valid[:, max(0, -lag) : frames + min(0, -lag)],
            )
            for lag in range(-reach, reach + 1)
        ]
        return torch.stack(lagged).nan_to_num(-torch.inf).amax(dim=0).where(~lagged[reach].isnan(), torch.nan)
