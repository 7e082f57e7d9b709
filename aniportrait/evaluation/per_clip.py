"""A metric that keeps one value per clip, so that two systems can be compared clip by clip."""

from abc import abstractmethod

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class PerClipMetric(Metric):
    """The mean over clips of one score each; clips without a valid frame, or without an answer, are left out.

    `per_clip` (n,) holds the scores in the order of the updates, nan where there is none.

    Attributes:
        unit: of the figure, "" for a plain number.
        digits: shown after the point.
    """

    full_state_update = False
    unit: str = ""
    digits: int = 3
    values: list[Tensor]

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.add_state("values", default=[], dist_reduce_fx="cat")

    def update(self, prediction: Tensor, target: Tensor, valid: Tensor) -> None:
        """Args: prediction, target (b, f, ...) in the subclass's units; valid (b, f) bool."""
        self.values.append(self.scores(prediction, target, valid))

    def scores(self, prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """(b,) one score per clip, nan where there is none, of clips that are not taken into the mean."""
        if prediction.shape != target.shape:
            raise ValueError(
                f"prediction {tuple(prediction.shape)} must have the target's shape {tuple(target.shape)}"
            )
        return self._scores(prediction.detach(), target.detach(), valid)

    def compute(self) -> Tensor:
        """() mean over clips."""
        return torch.nanmean(self.per_clip)

    @property
    def per_clip(self) -> Tensor:
        """(n,) one score per clip."""
        return dim_zero_cat(self.values)

    @abstractmethod
    def _scores(self, prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """(b,) one score per clip."""


def mean_over_frames(values: Tensor, valid: Tensor) -> Tensor:
    """Mean over the valid frames of each clip: (b, f), (b, f) -> (b,); nan where none is valid."""
    return torch.where(valid, values, 0.0).sum(dim=1) / valid.sum(dim=1)


def std_over_frames(values: Tensor, valid: Tensor) -> Tensor:
    """Standard deviation over each clip's valid frames: (b, f), (b, f) -> (b,); nan where none is valid."""
    deviation = values - mean_over_frames(values, valid)[:, None]
    return mean_over_frames(deviation.square(), valid).sqrt()
