"""Checkpoints that a run can go on from exactly, with accumulated gradients too."""

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn


class WholeStepCheckpoint(ModelCheckpoint):
    """Lightning's, but in the middle of no accumulated step: the gradients so far are in no checkpoint.

    Lightning's writes there after a resume, when the step's number is still that of the checkpoint it came from.
    Where a validation follows the step, the last checkpoint is written again after it: a run that goes on from there
    knows what its best figure is. When a run ends the last checkpoint is of its last step; Lightning's is so only if
    none was written before. A dry run (fast_dev_run) writes none.
    """

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_validation_end(trainer, pl_module)
        written = self.last_model_path and self._last_global_step_saved == trainer.global_step
        if written and trainer.state.fn == TrainerFn.FITTING:
            trainer.save_checkpoint(self.last_model_path)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if getattr(trainer, "fast_dev_run", False):
            return
        if self._last_global_step_saved != trainer.global_step:
            self._last_checkpoint_saved = ""
        super().on_train_end(trainer, pl_module)
