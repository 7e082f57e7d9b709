"""Dropout and augmentation as a function of (seed, step, rank): a resumed run draws what the uninterrupted one drew."""

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from aniportrait.training.generators import hash_of


class StepSeed(Callback):
    """Seeds torch's global generators before every training batch.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int):
        self.seed = seed

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        accumulated = batch_idx % trainer.accumulate_grad_batches
        torch.manual_seed(hash_of((self.seed, trainer.global_step, accumulated, trainer.global_rank)))
