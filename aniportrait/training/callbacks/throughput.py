"""Samples per second and step time, measured over each logging interval."""

import time
from typing import Any

from lightning import Callback, LightningModule, Trainer


class Throughput(Callback):
    """Logs `throughput/step_seconds` and `throughput/samples_per_second` (over all ranks)."""

    def __init__(self) -> None:
        self._since = 0.0
        self._steps = 0
        self._samples = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restart()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._steps += 1
        self._samples += len(batch.keys) * trainer.world_size
        if self._steps < trainer.log_every_n_steps:  # type: ignore[attr-defined]
            return
        seconds = time.perf_counter() - self._since
        pl_module.log("throughput/step_seconds", seconds / self._steps, batch_size=1)
        pl_module.log("throughput/samples_per_second", self._samples / seconds, batch_size=1)
        self._restart()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restart()

    def _restart(self) -> None:
        self._since = time.perf_counter()
        self._steps = 0
        self._samples = 0
