"""Where a training stands, as lines that a log keeps: a progress bar leaves none where no terminal is."""

import logging
import time
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from aniportrait.training.callbacks.progress_bar import loss

log = logging.getLogger(__name__)


class ProgressLines(Callback):
    """Logs step, time to go and the figures of the progress bar, after every validation and now and then.

    Args:
        every_seconds: between lines, at least.
    """

    def __init__(self, every_seconds: float = 60.0):
        self.every_seconds = every_seconds
        self._began, self._first, self._last = 0.0, 0, 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._began = self._last = time.monotonic()
        self._first = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if time.monotonic() - self._last >= self.every_seconds:
            self._say(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            self._say(trainer)

    def _say(self, trainer: Trainer) -> None:
        self._last = time.monotonic()
        if not trainer.is_global_zero:
            return
        done, last = trainer.global_step - self._first, trainer.max_steps
        left = (last - trainer.global_step) * (self._last - self._began) / max(1, done)
        shown = {**loss(trainer), **trainer.progress_bar_metrics}
        figures = (f"{name} {value:.4g}" for name, value in shown.items())
        log.info(
            "step %d of %d, %s to go: %s", trainer.global_step, last, _duration(left), ", ".join(figures)
        )


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"
