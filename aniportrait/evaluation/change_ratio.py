"""Whether a video changes from frame to frame as much as the true one does."""

import torch
from torch import Tensor

from aniportrait.evaluation.flicker import changes, in_both, mean_over_pairs
from aniportrait.evaluation.per_clip import PerClipMetric

STILL = 1e-4
"""[0, 1] RGB: a true clip whose pixels change less on average does not move."""


class ChangeRatio(PerClipMetric):
    """Mean absolute difference of successive frames, as a share of the true video's.

    1 is as lively as the truth, above it the picture trembles, a frozen picture scores 0. Which changes they are it
    does not ask; `Flicker` does. Clips of one frame and those whose truth does not move are left out.
    """

    higher_is_better = None

    def update(self, prediction: Tensor, target: Tensor, region: Tensor) -> None:
        """Args: prediction, target (b, f, 3, h, w) in [-1, 1]; region (b, f, h, w) bool."""
        super().update(prediction, target, region)

    def _scores(self, prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        return share_of_true(mean_change(prediction, valid), mean_change(target, valid))


def mean_change(video: Tensor, region: Tensor) -> Tensor:
    """(b, f, 3, h, w) in [-1, 1], (b, f, h, w) bool -> (b,) [0, 1] RGB; nan where no pair of frames has a pixel."""
    return mean_over_pairs(changes(video).abs().mean(dim=2), in_both(region))


def share_of_true(ours: Tensor, true: Tensor) -> Tensor:
    """What moves, [0, 1] RGB, over what truly does; nan where that stands still."""
    return torch.where(true < STILL, torch.nan, ours / true)
