"""Step time, samples per second and the share of the device's rate, measured over each logging interval."""

import time
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from aniportrait.training.operation_count import OperationCount
from aniportrait.training.peak_rate import compute_dtype, peak_rate


class Throughput(Callback):
    """Logs `throughput/step_seconds`, `/samples_per_second` (over all ranks) and the share of the device's rate.

    The share is `throughput/mfu` or `throughput/of_matrix_rate`, see `peak_rate`: operations of matrix products,
    convolutions and attention, counted once, on the first batch, forward and backward, over the time of whole steps.
    What gradient checkpointing computes twice counts twice. Validations are left out.

    Lightning's ThroughputMonitor waits for the device after every batch, writes rows of its own, numbered otherwise
    under accumulation, and knows no rate of a CPU.
    """

    def __init__(self) -> None:
        self._since = 0.0
        self._batches = 0
        self._samples = 0
        self._operations = 0  # of one batch
        self._counter: OperationCount | None = None
        self._peak = ("", 0.0)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._peak = peak_rate(pl_module.device, compute_dtype(str(trainer.precision)))
        self._operations = 0
        self._restart()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if not self._operations:
            self._counter = OperationCount()
            # What is compiled while operations are counted would stay uncompiled.
            torch.compiler.set_stance("force_eager")
            self._counter.__enter__()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._counter is not None:
            self._operations = max(1, self._counted())
            self._restart()  # counting takes time
            return
        self._batches += 1
        self._samples += len(batch.keys) * trainer.world_size
        whole = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if whole and trainer.global_step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self._log(trainer, pl_module)
            self._restart()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restart()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._counted()

    def _log(self, trainer: Trainer, module: LightningModule) -> None:
        seconds = time.perf_counter() - self._since
        name, peak = self._peak
        figures = {
            "step_seconds": seconds / self._batches * trainer.accumulate_grad_batches,
            "samples_per_second": self._samples / seconds,
            name: self._operations * self._batches / seconds / peak,
        }
        module.log_dict({f"throughput/{key}": value for key, value in figures.items()}, batch_size=1)

    def _counted(self) -> int:
        counter, self._counter = self._counter, None
        if counter is None:
            return 0
        counter.__exit__(None, None, None)
        torch.compiler.set_stance("default")
        return counter.total

    def _restart(self) -> None:
        self._since = time.perf_counter()
        self._batches = 0
        self._samples = 0
