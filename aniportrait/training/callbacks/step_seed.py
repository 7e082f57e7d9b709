"""Dropout and augmentation as a function of (seed, step, rank): a resumed run draws what the uninterrupted one drew."""

from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer

from aniportrait.training.generators import hash_of


class StepSeed(Callback):
    """Seeds the global generators of torch and numpy (which SpecAugment draws from) before every training batch.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int):
        self.seed = seed

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        accumulated = batch_idx % trainer.accumulate_grad_batches
        mixed = hash_of((self.seed, trainer.global_step, accumulated, trainer.global_rank))
        torch.manual_seed(mixed)
        np.random.seed(mixed % 2**32)
