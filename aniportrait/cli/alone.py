"""A training as a command of its own: a run of a sweep, or one that is done again from what its folder says."""

import ctypes
import json
import math
import signal
import subprocess
import sys
from pathlib import Path

import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

TRAIN = Path(__file__).parents[2] / "train.py"
PR_SET_PDEATHSIG = 1
IN_PROCESS = "SlurmLauncher"
"""The launcher whose processes are the ranks of a run already."""


def is_job() -> bool:
    """Whether this is one job of several that -m makes."""
    return HydraConfig.get().mode == RunMode.MULTIRUN


def wants_own_process() -> bool:
    """Whether this is a sweep's job whose run has no process yet."""
    return is_job() and not HydraConfig.get().launcher._target_.endswith(IN_PROCESS)


def run_job(config: DictConfig) -> float | None:
    """Train this job's config in a process of its own, and return the figure `monitor` that it ends with.

    What ends that process, or leaves it with a broken GPU, leaves the sweep alone; so do processes that it starts for
    other ranks. It gets SIGTERM when this one dies.
    """
    job = HydraConfig.get()
    folder = Path(job.runtime.output_dir)
    command = command_of(job.overrides.task, folder)
    end_with_this = ctypes.CDLL(None).prctl
    code = subprocess.run(
        command, preexec_fn=lambda: end_with_this(PR_SET_PDEATHSIG, signal.SIGTERM), check=False
    ).returncode
    if code:
        raise ValueError(f"the run in {folder} ended with exit code {code}")
    return figure_of(folder, config.monitor)


def command_of(overrides: list[str], folder: Path) -> list[str]:
    """The command that trains with these overrides into a folder."""
    quoted = str(folder).replace('"', '\\"')
    return [sys.executable, str(TRAIN), *overrides, f'hydra.run.dir="{quoted}"']


def recorded_overrides(run: Path) -> list[str]:
    """What a run's folder says that it was started with, the folder itself apart."""
    file = run / ".hydra" / "overrides.yaml"
    if not file.is_file():
        raise FileNotFoundError(f"{run} must be the folder of a run: {file} does not exist")
    overrides = yaml.safe_load(file.read_text(encoding="utf-8"))
    return [override for override in overrides if not override.startswith("out=")]


def figure_of(run: Path, monitor: str) -> float | None:
    """The validation figure of a finished run; None of one that was asked to stop."""
    file = run / "metrics.json"
    figure = json.loads(file.read_text(encoding="utf-8")).get(monitor) if file.is_file() else None
    if figure is not None and not math.isfinite(figure):  # Optuna would end the sweep for it
        raise ValueError(f"{monitor} ({figure}) of {run} must be a number")
    return figure
