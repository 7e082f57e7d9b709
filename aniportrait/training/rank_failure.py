"""An error on one rank ends them all: the others wait for it in a collective, with NCCL for half an hour."""

import atexit
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from lightning import Trainer
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher


@contextmanager
def ending_together(trainer: Trainer) -> Iterator[None]:
    """Inside, an error ends this process without waiting for other ranks, and the ranks that it has started.

    Those that others have started see this one end: Lightning's first rank, torchrun or srun then ends the rest. The
    error is raised on, to be said as ever.
    """
    try:
        yield
    except BaseException:
        if trainer.world_size > 1:
            launcher = trainer.strategy.launcher
            if isinstance(launcher, _SubprocessScriptLauncher):
                launcher.kill(signal.SIGKILL)
            atexit.register(_end)  # called first of all: what NCCL does at the end waits for other ranks
        raise


def _end() -> None:
    if wandb := sys.modules.get("wandb"):
        wandb.teardown(exit_code=2)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(2)
