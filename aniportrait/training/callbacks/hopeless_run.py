"""A run that will not come to anything ends early: a sweep has better uses for its time."""

import logging
import sys

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.trainer.states import TrainerFn

log = logging.getLogger(__name__)


class HopelessRun(EarlyStopping):
    """Ends a run at the first validation after `after_step` whose figure is worse than `worst` or no number.

    The run ends as one that took all its steps: with weights and figures, of which a sweep learns.

    Args:
        monitor: the validation figure.
        worst: what it may be at worst.
        after_step: validations before this step don't count.
        mode: "min" if small figures are good, "max" if large ones are.
    """

    def __init__(self, monitor: str, worst: float, after_step: int = 0, mode: str = "min"):
        super().__init__(
            monitor,
            mode=mode,
            divergence_threshold=worst,
            patience=sys.maxsize,
            check_on_train_epoch_end=False,
        )
        self.after_step = after_step

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step < self.after_step:
            return
        super().on_validation_end(trainer, pl_module)
        if self.stopping_reason_message and trainer.state.fn == TrainerFn.FITTING:
            log.warning(
                "%s (%.4g) must not be worse than %g after step %d: given up",
                self.monitor,
                trainer.callback_metrics[self.monitor],
                self.divergence_threshold,
                trainer.global_step,
            )
