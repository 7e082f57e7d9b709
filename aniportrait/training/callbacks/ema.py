"""Exponential moving average of the weights, which validation and export use."""

from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor


class EMA(WeightAveraging):
    """Lightning's WeightAveraging with an average that leaves frozen weights as they are, to the bit.

    torch's own average interpolates, and rounds even where both ends are equal.

    Args:
        decay: of the average, per step.
    """

    def __init__(self, decay: float):
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"decay ({decay}) must be at least 0 and below 1")

        def average(averaged: list[Tensor], current: list[Tensor], updates: Tensor | int) -> None:
            for ours, theirs in zip(averaged, current, strict=True):
                if ours.is_floating_point():
                    ours.add_(theirs.to(ours) - ours, alpha=1.0 - decay)
                else:
                    ours.copy_(theirs)

        super().__init__(use_buffers=True, multi_avg_fn=average)
