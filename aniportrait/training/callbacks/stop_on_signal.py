"""A cluster that takes its machine back asks first: the run writes where it stands and ends."""

import signal
from pathlib import Path
from typing import Any, cast

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""What torchrun, scancel and most schedulers send; sbatch's --signal, as one likes; submitit."""


class StoppedBySignal(Exception):  # noqa: N818 - nothing is wrong
    """The training was asked to end, and its checkpoint lies where the message says."""


class StopOnSignal(Checkpoint):
    """On one of SIGNALS to any rank, all write a checkpoint after the same step and raise StoppedBySignal.

    That is after the step being computed, over several ranks after at most `agree_every` steps; where a validation is
    due then, after it, with what it says in the log and in best.ckpt. Whoever sends the signal must allow time for
    these and the writing. Repeated signals change nothing, as torchrun and scancel send two, nor does one in the
    validation after the last step; SIGINT and SIGKILL end the process as ever. Nothing starts the run again: resume=
    does.

    Lightning's own handlers are left out: on SIGTERM they broadcast from wherever a rank happens to be, and ask after
    it before every batch, for which each rank waits for its device.

    It is a Checkpoint to Lightning, whose turn comes after all other callbacks', in the order of the list.

    Args:
        file: the checkpoint.
        agree_every: steps after which ranks ask one another; alone, a process need not.
    """

    def __init__(self, file: str, agree_every: int = 5):
        self.file, self.agree_every = Path(file), agree_every
        self._received = False
        self._before: dict[int, Any] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        cast(Any, trainer)._signal_connector.register_signal_handlers = _nothing
        cast(Any, trainer.fit_loop.epoch_loop)._broadcast_sigterm_tensor = _nothing
        self._give_back()
        self._received = False
        self._before = {number: signal.signal(number, self._receive) for number in SIGNALS}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        batches, interval = trainer.fit_loop.total_batch_idx + 1, trainer.val_check_batch
        if not (trainer.enable_validation and interval and batches % interval == 0):
            self._stop_if_asked(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            self._stop_if_asked(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._give_back()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._give_back()

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}

    def _stop_if_asked(self, trainer: Trainer) -> None:
        if (trainer.fit_loop.batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        asked = self._received
        if trainer.world_size > 1:
            if trainer.global_step % self.agree_every:
                return
            asked = trainer.strategy.reduce_boolean_decision(asked, all=False)
        if asked:
            trainer.save_checkpoint(self.file)
            raise StoppedBySignal(
                f"asked to stop after step {trainer.global_step}: go on with resume={self.file}"
            )

    def _receive(self, number: int, frame: Any) -> None:
        self._received = True


def _nothing() -> None:
    pass
