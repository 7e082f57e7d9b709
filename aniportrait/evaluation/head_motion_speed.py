"""Whether the head moves as fast as it should."""

import torch
from torch import Tensor

from aniportrait.evaluation.head_motion_spread import STILL
from aniportrait.evaluation.per_clip import PerClipMetric, mean_over_frames


class HeadMotionSpeed(PerClipMetric):
    """Mean change of the generated head's angles from frame to frame, over that of the true head's.

    1 is right; well above it the head trembles. Poses are (b, f, 6), degrees and cm; a pair of frames counts
    where both are valid.
    """

    def _scores(self, prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        pairs = valid[:, 1:] & valid[:, :-1]
        ours, true = (
            mean_over_frames(pose[..., :3].diff(dim=1).norm(dim=-1), pairs) for pose in (prediction, target)
        )
        return torch.where(true < STILL / 10, torch.nan, ours / true)
