"""Whether generated heads stand and move as true heads do, taken together."""

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from aniportrait.evaluation.frechet_distance import Normal, squared_frechet_distance


class HeadPoseFrechetDistance(Metric):
    """Frechet distance of two normal distributions: poses and their changes, of all frames of all clips.

    Speech does not determine head motion, so distributions are compared and not frames. Each of the 12 numbers (six
    of the pose, six of its change to the next frame) is divided by its standard deviation over the true frames; 0 is
    right, and the distance is not squared.
    """

    higher_is_better = False
    full_state_update = False
    ours: list[Tensor]
    true: list[Tensor]

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.add_state("ours", default=[], dist_reduce_fx="cat")
        self.add_state("true", default=[], dist_reduce_fx="cat")

    def update(self, prediction: Tensor, target: Tensor, valid: Tensor) -> None:
        """Args: prediction, target (b, f, 6) degrees and cm; valid (b, f) bool."""
        self.ours.append(_states(prediction.detach(), valid))
        self.true.append(_states(target.detach(), valid))

    def compute(self) -> Tensor:
        """() the distance."""
        ours, true = dim_zero_cat(self.ours), dim_zero_cat(self.true)
        scale = true.std(dim=0).clamp_min(1e-6)
        return frechet_distance(ours / scale, true / scale)


def frechet_distance(a: Tensor, b: Tensor) -> Tensor:
    """() distance, not squared, of the normal distributions fitted to samples (n, c) and (m, c)."""
    if len(a) < 2 or len(b) < 2:
        raise ValueError(f"samples ({len(a)} and {len(b)}) must be at least 2 each to have a covariance")
    return squared_frechet_distance(Normal.fitted(a), Normal.fitted(b)).sqrt()


def _states(head_pose: Tensor, valid: Tensor) -> Tensor:
    """(n, 12) poses beside their changes, where a frame and the next are valid."""
    pairs = valid[:, 1:] & valid[:, :-1]
    return torch.cat((head_pose[:, :-1], head_pose.diff(dim=1)), dim=-1)[pairs]
