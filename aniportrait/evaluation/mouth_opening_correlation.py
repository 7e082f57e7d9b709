"""Whether the mouth opens when it should."""

import torch
from torch import Tensor

from aniportrait.evaluation.per_clip import PerClipMetric, mean_over_frames, std_over_frames
from aniportrait.face.topology import INNER_LIP_PAIRS

STILL = 1e-4
"""cm: a mouth whose opening varies less does not move."""


class MouthOpeningCorrelation(PerClipMetric):
    """Pearson correlation over a clip's frames of predicted and true mouth opening, in [-1, 1].

    0 for a predicted mouth that does not move; clips whose true mouth does not move are left out.
    """

    higher_is_better = True

    def _scores(self, prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        return opening_correlation(mouth_opening(prediction), mouth_opening(target), valid)


def opening_correlation(ours: Tensor, true: Tensor, valid: Tensor) -> Tensor:
    """Pearson correlation over each clip's valid frames: (b, f) twice, (b, f) -> (b,).

    0 where ours does not move, nan where the true one does not.
    """
    ours_std, true_std = std_over_frames(ours, valid), std_over_frames(true, valid)
    covariance = mean_over_frames(_centred(ours, valid) * _centred(true, valid), valid)
    correlation = torch.where(ours_std < STILL, 0.0, covariance / (ours_std * true_std))
    return torch.where(true_std < STILL, torch.nan, correlation)


def _centred(values: Tensor, valid: Tensor) -> Tensor:
    return values - mean_over_frames(values, valid)[:, None]


def mouth_opening(vertices: Tensor) -> Tensor:
    """Mean distance between facing inner lip vertices: (..., 468, 3) -> (...), in the vertices' unit."""
    upper, lower = torch.as_tensor(INNER_LIP_PAIRS, device=vertices.device).unbind(dim=1)
    return (vertices[..., upper, :] - vertices[..., lower, :]).norm(dim=-1).mean(dim=-1)
