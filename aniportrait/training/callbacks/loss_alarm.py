"""A training that has gone wrong ends, writes no checkpoint of it, and says on which clips."""

import math
from collections import deque
from collections.abc import Iterable
from statistics import quantiles
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from aniportrait.training.callbacks.ema import CURRENT
from aniportrait.training.sharding import local

RECENT = "recent_losses"
"""Key under which a checkpoint holds what LossAlarm compares the next loss with."""


class LossAlarmError(ValueError):
    """The loss is no number or far above what it was, or the weights are no numbers."""


class LossAlarm(Callback):
    """Raises LossAlarmError, naming the batch, when the loss is NaN or infinite, or far above what it was lately.

    A likelihood's loss may be negative or pass through zero, so that distances count: a spike lies above the recent
    median by `spike` times the median's size or the distance of the recent quartiles, whichever is larger.

    A loss is copied to the host when its step is queued and looked at one step later, so that the device always has a
    step to go on with, and before a checkpoint is written. A finite loss can have gradients that are not: no checkpoint
    is written of weights or averages that are not finite. Ranks decide together, or those with a good batch would write
    and then wait for the others.

    Args:
        spike: see above.
        window: recent losses that count; there is no spike before there are so many.
        agree_every: steps after which ranks ask one another, besides before every checkpoint.
    """

    def __init__(self, spike: float = 50.0, window: int = 100, agree_every: int = 5):
        if spike <= 1 or window < 2:
            raise ValueError(f"spike ({spike}) must be above 1 and window ({window}) at least 2")
        self.spike = spike
        self.agree_every = agree_every
        self._recent: deque[float] = deque(maxlen=window)
        self._unseen: tuple[_HostCopy, int, list[str]] | None = None
        self._wrong: str | None = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._look()
        loss = outputs["loss"].detach() * trainer.accumulate_grad_batches
        self._unseen = (_HostCopy(loss), trainer.global_step, batch.keys)
        if trainer.world_size == 1 or (batch_idx + 1) % self.agree_every == 0:
            self._agree(trainer)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """After EMA's, whose averages the checkpoint then holds."""
        self._look()
        self._look_at_weights((checkpoint["state_dict"], checkpoint.get(CURRENT, {})), trainer.global_step)
        self._agree(trainer)
        checkpoint[RECENT] = list(self._recent)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._recent.extend(checkpoint.get(RECENT, ()))  # none, if it was written without an alarm

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._look()
        self._look_at_weights([pl_module.state_dict()], trainer.global_step)
        self._agree(trainer)

    def _look(self) -> None:
        if self._unseen is None:
            return
        (loss, step, keys), self._unseen = self._unseen, None
        value = loss.value()
        limit = self._limit()
        if math.isfinite(value) and value <= limit:
            self._recent.append(value)
        elif self._wrong is None:
            beside = "" if math.isinf(limit) else f" (of late not above {max(self._recent):.4g})"
            self._wrong = f"loss {value:g}{beside} at step {step} on {', '.join(keys)}"

    def _look_at_weights(self, states: Iterable[dict[str, Tensor]], step: int) -> None:
        weights = [(name, local(weight)) for state in states for name, weight in state.items()]
        if self._wrong is None and weights:
            finite = torch.stack([weight.isfinite().all() for _, weight in weights]).tolist()
            bad = [name for (name, _), good in zip(weights, finite, strict=True) if not good]
            if bad:
                self._wrong = (
                    f"{len(bad)} of the weights, {bad[0]} the first, are not finite after step {step}"
                )

    def _agree(self, trainer: Trainer) -> None:
        if trainer.strategy.reduce_boolean_decision(self._wrong is not None, all=False):
            wrong = self._wrong or f"another rank names what was wrong before step {trainer.global_step}"
            raise LossAlarmError(f"{wrong}: stopped; the last checkpoint is older and good")

    def _limit(self) -> float:
        if len(self._recent) < (self._recent.maxlen or 0):
            return math.inf
        low, middle, high = quantiles(self._recent)
        usual = max(abs(middle), high - low)
        return middle + self.spike * usual if usual else math.inf


class _HostCopy:
    """A scalar on its way from the device: its value waits for what was queued before it, not for what followed."""

    def __init__(self, scalar: Tensor):
        self._scalar = scalar.to("cpu", non_blocking=scalar.is_cuda)  # into pinned memory
        self._arrived = torch.cuda.Event() if scalar.is_cuda else None
        if self._arrived is not None:
            self._arrived.record()

    def value(self) -> float:
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._scalar.item()
