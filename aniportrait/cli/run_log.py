"""Where a run's figures go: its CSV, and the logger of the config; what both are told of the run."""

import csv
import logging
import os
import shutil
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from lightning.pytorch.loggers import CSVLogger
from omegaconf import DictConfig, OmegaConf

log = logging.getLogger(__name__)


def loggers(config: DictConfig, run: Path) -> list[Any]:
    """The CSV logger and, if `config.logger` is one, that."""
    built: list[Any] = [CSVLogger(run, name=None, version="csv", flush_logs_every_n_steps=10)]
    if config.logger:
        if "Wandb" in config.logger._target_:
            _wandb_mode()
        built.append(instantiate(config.logger))
    return built


def describe_run(built: list[Any], config: DictConfig, git: dict[str, Any]) -> None:
    """Tell the loggers the resolved config and git state, as hyper-parameters."""
    resolved: Any = OmegaConf.to_container(config, resolve=True)
    for logger in built:
        logger.log_hyperparams({**resolved, "git": git})


def continue_csv(logger: CSVLogger, step: int) -> None:
    """Begin the CSV of a run that goes on in its folder, after `step` steps, with what it held of these.

    Lightning deletes the file. What was logged after the checkpoint is logged again. A copy stands by meanwhile.

    Args:
        logger: that nothing was logged to.
        step: of the checkpoint.
    """
    file = Path(logger.log_dir) / "metrics.csv"
    copy = file.with_name("metrics_before.csv")
    if not copy.is_file() and not file.is_file():
        return
    if not copy.is_file():  # else an earlier try was cut off
        shutil.copyfile(file, part := copy.with_suffix(".part"))
        os.replace(part, copy)
    with open(copy, newline="") as lines:
        rows = list(csv.DictReader(lines))
    for row in rows:
        figures: dict[str, Any] = {name: value for name, value in row.items() if value and name != "step"}
        if int(row["step"]) < step or (int(row["step"]) == step and _of_the_end(figures)):
            logger.log_metrics(figures, int(row["step"]))
    logger.save()
    copy.unlink()


def _of_the_end(figures: dict[str, Any]) -> bool:
    """Whether a row is the validation after the last step, which counts from 1, not a step's, which count from 0."""
    return all(name == "epoch" or name.startswith("val/") for name in figures)


def _wandb_mode() -> None:
    has_key = os.environ.get("WANDB_API_KEY") or "api.wandb.ai" in _netrc()
    if "WANDB_MODE" not in os.environ and not has_key:
        os.environ["WANDB_MODE"] = "offline"
        log.warning("W&B has no key (WANDB_API_KEY or `wandb login`): this run is logged offline")


def _netrc() -> str:
    file = Path(os.environ.get("NETRC", Path.home() / ".netrc"))
    return file.read_text() if file.is_file() else ""
