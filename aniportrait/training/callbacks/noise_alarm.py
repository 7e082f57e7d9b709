"""Ranks that draw the same noise train as one: the mistake of seeding every rank alike, seen at the first step."""

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer


class EqualNoiseError(ValueError):
    """Two samples of a global batch were given the same noise."""


class NoiseAlarm(Callback):
    """Compares the noise of all samples of all ranks, at the first step and then every `every` steps.

    Args:
        every: steps.
    """

    def __init__(self, every: int = 1000):
        self.every = every

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx % (self.every * trainer.accumulate_grad_batches):
            return
        mine: Any = pl_module.noise_mean
        everyone: Any = pl_module.all_gather(mine)
        everyone = everyone.flatten()
        if len(torch.unique(everyone)) < len(everyone):
            raise EqualNoiseError(
                f"{len(everyone)} samples of {trainer.world_size} ranks have {len(torch.unique(everyone))} different "
                "noises: every sample must have its own"
            )
