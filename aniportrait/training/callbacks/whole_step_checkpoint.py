"""Checkpoints that a run can go on from exactly, with accumulated gradients too."""

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint


class WholeStepCheckpoint(ModelCheckpoint):
    """Lightning's, but in the middle of no accumulated step: the gradients so far are in no checkpoint.

    Lightning's writes there after a resume, when the step's number is still that of the checkpoint it came from.
    """

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
