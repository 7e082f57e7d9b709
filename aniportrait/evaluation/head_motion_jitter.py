"""Whether the head trembles."""

import torch
from torch import Tensor

from aniportrait.evaluation.head_motion_spread import STILL
from aniportrait.evaluation.per_clip import PerClipMetric, mean_over_frames


class HeadMotionJitter(PerClipMetric):
    """Mean size of the third difference of the generated head's angles, over that of the true head's.

    1 is right; speed alone does not tell a quick turn from a tremble. Poses are (b, f, 6), degrees and cm; four
    neighbouring valid frames count.
    """

    def _scores(self, prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        four = four_in_a_row(valid)
        ours, true = (
            mean_over_frames(pose[..., :3].diff(n=3, dim=1).norm(dim=-1), four)
            for pose in (prediction, target)
        )
        return torch.where(true < STILL / 10, torch.nan, ours / true)


def four_in_a_row(valid: Tensor) -> Tensor:
    """(b, f) bool -> (b, f - 3): the valid frames whose next three are valid, which third differences need."""
    return valid[:, 3:] & valid[:, 2:-1] & valid[:, 1:-2] & valid[:, :-3]
