"""Whether a video changes from frame to frame as much as the true one does."""

import torch
from torch import Tensor

from aniportrait.evaluation.per_clip import PerClipMetric

STILL = 1e-4
"""[0, 1] RGB: a true clip whose pixels change less on average does not move."""


class Flicker(PerClipMetric):
    """Mean absolute difference of successive frames, as a share of the true video's.

    1 is as lively as the truth, above it the picture flickers, a frozen picture scores 0. Clips of one frame and those
    whose truth does not move are left out.
    """

    higher_is_better = None

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Args: prediction, target (b, f, 3, h, w) in [-1, 1]."""
        super().update(
            prediction, target, torch.ones(target.shape[:2], dtype=torch.bool, device=target.device)
        )

    def _scores(self, prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        ours, true = mean_change(prediction), mean_change(target)
        return torch.where(true < STILL, torch.nan, ours / true)


def mean_change(video: Tensor) -> Tensor:
    """(b, f, 3, h, w) in [-1, 1] -> (b,): mean absolute difference of successive frames, [0, 1] RGB."""
    return video.clamp(-1, 1).diff(dim=1).abs().mean(dim=(1, 2, 3, 4)) / 2
