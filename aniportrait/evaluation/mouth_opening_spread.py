"""Whether the mouth opens as much as it should."""

import torch
from torch import Tensor

from aniportrait.evaluation.mouth_opening_correlation import STILL, mouth_opening
from aniportrait.evaluation.per_clip import PerClipMetric, std_over_frames


class MouthOpeningSpread(PerClipMetric):
    """Standard deviation over a clip's frames of the predicted mouth opening, over that of the true one.

    1 is right; near 0 is a mouth that stays shut. Clips whose true mouth does not move are left out.
    """

    higher_is_better = None

    def _scores(self, prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        true = std_over_frames(mouth_opening(target), valid)
        ratio = std_over_frames(mouth_opening(prediction), valid) / true
        return torch.where(true < STILL, torch.nan, ratio)
