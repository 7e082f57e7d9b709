"""Several runs by one command: where a search keeps its trials, and what a run must not do to the others."""

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import read_write


def sqlite(file: str) -> str:
    """The address of a SQLite file, for Optuna, which makes the file but not its folder."""
    path = Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{path}"


def figure_to_compare(monitor: str, figures: dict[str, float]) -> float | None:
    """The figure `monitor`, if there is one; ValueError if it is no number, which Optuna would end a sweep for."""
    figure = figures.get(monitor)
    if figure is not None and not math.isfinite(figure):
        raise ValueError(f"{monitor} ({figure}) must be a number")
    return figure


@contextmanager
def finished_wandb_run() -> Iterator[None]:
    """W&B's run ends with the training: the next of a sweep in this process would write into it."""
    exit_code = 1
    try:
        yield
        exit_code = 0
    finally:
        if "wandb" in sys.modules:
            sys.modules["wandb"].finish(exit_code=exit_code)


def is_one_of_several() -> bool:
    """Whether this run is a job of a sweep."""
    return HydraConfig.get().mode == RunMode.MULTIRUN


def sweep_is_this_process() -> bool:
    """Whether the jobs run one after the other where the sweep does."""
    return is_one_of_several() and HydraConfig.get().launcher._target_.endswith("BasicLauncher")


def command_of_this_run_alone() -> None:
    """Put it in place of the sweep's: Lightning starts the other ranks' processes by the command line it finds."""
    hydra = HydraConfig.get()
    with read_write(hydra):
        hydra.run.dir = hydra.runtime.output_dir
    sys.argv[1:] = list(hydra.overrides.task)
