"""Whether the head turns as far as it should."""

import torch
from torch import Tensor

from aniportrait.evaluation.per_clip import PerClipMetric, std_over_frames

STILL = 1e-2
"""Degrees: a head whose angles vary less does not move."""


class HeadMotionSpread(PerClipMetric):
    """Spread over a clip's frames of the generated head's three angles, over that of the true head's.

    Speech does not determine head motion, so poses are not compared frame by frame. 1 is right, near 0 is a
    head that stays still. Poses are (b, f, 6), degrees and cm.
    """

    def _scores(self, prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        true = rotation_spread(target, valid)
        return torch.where(true < STILL, torch.nan, rotation_spread(prediction, valid) / true)


def rotation_spread(head_pose: Tensor, valid: Tensor) -> Tensor:
    """Root of the summed variances of the angles: (b, f, 6), (b, f) -> (b,), degrees."""
    variances = [std_over_frames(head_pose[..., axis], valid).square() for axis in range(3)]
    return torch.stack(variances).sum(dim=0).sqrt()
