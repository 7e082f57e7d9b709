"""A training that has gone wrong ends at once, before it writes a checkpoint, and says on which clips."""

import math
from collections import deque
from statistics import quantiles
from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch import Tensor


class LossAlarmError(ValueError):
    """The loss is no number, or far above what it was."""


class LossAlarm(Callback):
    """Raises LossAlarmError, naming the batch, when the loss is NaN or infinite, or far above what it was lately.

    A likelihood's loss may be negative or pass through zero, so that distances count: a spike lies above the recent
    median by `spike` times the median's size or the distance of the recent quartiles, whichever is larger.

    A loss is looked at one step later, when the device has computed it anyway, and always before a checkpoint is
    written: the last checkpoint is good.

    Args:
        spike: see above.
        window: recent losses that count; there is no spike before there are so many.
    """

    def __init__(self, spike: float = 50.0, window: int = 100):
        if spike <= 1 or window < 2:
            raise ValueError(f"spike ({spike}) must be above 1 and window ({window}) at least 2")
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
        limit = self._limit()
        if not math.isfinite(value) or value > limit:
            beside = "" if math.isinf(limit) else f" (of late not above {max(self._recent):.4g})"
            raise LossAlarmError(
                f"loss {value:g}{beside} at step {step} on {', '.join(keys)}: stopped; the last checkpoint is older "
                "and good"
            )
        self._recent.append(value)

    def _limit(self) -> float:
        if len(self._recent) < (self._recent.maxlen or 0):
            return math.inf
        low, middle, high = quantiles(self._recent)
        usual = max(abs(middle), high - low)
        return middle + self.spike * usual if usual else math.inf
