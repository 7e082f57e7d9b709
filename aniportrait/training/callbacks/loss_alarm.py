"""A training that has gone wrong ends at once, before it writes a checkpoint, and says on which clips."""

import math
from collections import deque
from statistics import median
from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch import Tensor


class LossAlarmError(ValueError):
    """The loss is no number, or far above what it was."""


class LossAlarm(Callback):
    """Raises LossAlarmError, naming the batch, when the loss is NaN or infinite, or many times its recent median.

    A loss is looked at one step later, when the device has computed it anyway, and always before a checkpoint is
    written: the last checkpoint is good.

    Args:
        spike: times the median from which on a loss is a spike.
        window: recent losses to take the median of; there is no spike before there are so many.
    """

    def __init__(self, spike: float = 50.0, window: int = 100):
        if spike <= 1 or window < 1:
            raise ValueError(f"spike ({spike}) must be above 1 and window ({window}) at least 1")
        self.spike = spike
        self._recent: deque[float] = deque(maxlen=window)
        self._unseen: tuple[Tensor, int, list[str]] | None = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._look()
        self._unseen = (
            outputs["loss"].detach() * trainer.accumulate_grad_batches,
            trainer.global_step,
            batch.keys,
        )

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._look()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._look()

    def _look(self) -> None:
        if self._unseen is None:
            return
        (loss, step, keys), self._unseen = self._unseen, None
        value = loss.item()
        usual = median(self._recent) if len(self._recent) == self._recent.maxlen else math.inf
        if not math.isfinite(value) or value > self.spike * usual:
            beside = "" if math.isinf(usual) else f", {self.spike:g} times the recent {usual:.4g} or more,"
            raise LossAlarmError(
                f"loss {value:g}{beside} at step {step} on {', '.join(keys)}: stopped; the last checkpoint is older "
                "and good"
            )
        self._recent.append(value)
