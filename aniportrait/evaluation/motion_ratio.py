"""Whether pixels vary over a clip as much as they should."""

import torch
from torch import Tensor

from aniportrait.evaluation.change_ratio import STILL
from aniportrait.evaluation.per_clip import PerClipMetric


class MotionRatio(PerClipMetric):
    """Standard deviation over time of the pixels in a region, mean over pixels, over that of the true ones.

    1 is right, near 0 a picture that stands still; flicker counts as motion here, so read it beside `Flicker`. A pixel
    belongs to the region if it does so in any frame. Clips whose truth does not move are left out.
    """

    higher_is_better = None

    def update(self, prediction: Tensor, target: Tensor, region: Tensor) -> None:
        """Args: prediction, target (b, f, 3, h, w) in [-1, 1]; region (b, f, h, w) bool."""
        super().update(prediction, target, region)

    def _scores(self, prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        touched = valid.any(dim=1)
        ours, true = (_spread(video, touched) for video in (prediction, target))
        return torch.where(true < STILL, torch.nan, ours / true)


def _spread(video: Tensor, touched: Tensor) -> Tensor:
    """(b, f, 3, h, w) in [-1, 1], (b, h, w) bool -> (b,) [0, 1] RGB; nan where no pixel is touched."""
    spread = (video.clamp(-1, 1) / 2).std(dim=1, correction=0).mean(dim=1)
    return (spread * touched).sum(dim=(-2, -1)) / touched.sum(dim=(-2, -1))
