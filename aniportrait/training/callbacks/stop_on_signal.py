"""A cluster that takes its machine back asks first: the run writes where it stands and ends."""

import signal
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class StoppedBySignal(Exception):  # noqa: N818 - nothing is wrong
    """The training was asked to end, and its checkpoint lies where the message says."""


class StopOnSignal(Callback):
    """On SIGTERM or SIGUSR1 to any rank, all write a checkpoint after the same step and raise StoppedBySignal.

    A second signal ends the process at once.

    Args:
        file: the checkpoint.
        agree_every: steps after which ranks ask one another; alone, a process need not.
    """

    def __init__(self, file: str, agree_every: int = 5):
        self.file, self.agree_every = Path(file), agree_every
        self._received = 0
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._received = 0
        self._before = {number: signal.signal(number, self._receive) for number in SIGNALS}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        asked = self._received > 0
        if trainer.world_size > 1:
            if trainer.global_step % self.agree_every:
                return
            asked = trainer.strategy.reduce_boolean_decision(asked, all=False)
        if asked:
            trainer.save_checkpoint(self.file)
            raise StoppedBySignal(
                f"asked to stop after step {trainer.global_step}: go on with resume={self.file}"
            )

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}

    def _receive(self, number: int, frame: Any) -> None:
        if self._received:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self._received = number
