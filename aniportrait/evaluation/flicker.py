"""Whether a video changes from frame to frame as the true one does."""

import torch
from torch import Tensor

from aniportrait.evaluation.per_clip import PerClipMetric


class Flicker(PerClipMetric):
    """Mean absolute difference between a pixel's predicted and true change from frame to frame, [0, 1] RGB.

    0 for the truth; a picture that never moves scores what the truth itself moves, a trembling one more.
    Needs two frames: shorter clips are left out.
    """

    higher_is_better = False

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Args: prediction, target (b, f, 3, h, w) in [-1, 1]."""
        super().update(
            prediction, target, torch.ones(target.shape[:2], dtype=torch.bool, device=target.device)
        )

    def _scores(self, prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        change = prediction.clamp(-1, 1).diff(dim=1) - target.clamp(-1, 1).diff(dim=1)
        return change.abs().mean(dim=(1, 2, 3, 4)) / 2
