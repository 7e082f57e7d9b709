"""Where a run's figures go: its CSV, and the logger of the config; what both are told of the run."""

import csv
import logging
import netrc
import os
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import wandb
from hydra.utils import instantiate
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

log = logging.getLogger(__name__)


def loggers(config: DictConfig, run: Path) -> list[Any]:
    """The CSV logger and, if `config.logger` is one, that: a run resumed in its folder stays one run of W&B."""
    built: list[Any] = [CSVLogger(run, name=None, version="csv", flush_logs_every_n_steps=10)]
    if config.logger:
        goes_on = {}
        if "Wandb" in config.logger._target_:
            _wandb_mode()
            goes_on = {"id": _wandb_id(run)} if config.get("resume") else {}
        built.append(instantiate(config.logger, **goes_on))
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


@rank_zero_only
def _wandb_mode() -> None:
    """Offline where W&B has no key for its server, unless somebody chose a mode."""
    if "WANDB_MODE" not in os.environ and not _has_wandb_key():
        os.environ["WANDB_MODE"] = "offline"
        wandb.teardown()  # it has read the environment
        log.warning("W&B has no key (WANDB_API_KEY or `wandb login`): this run is logged offline")


def _has_wandb_key() -> bool:
    """Whether W&B would find one where it looks: the environment, its settings, ~/.netrc. No server is asked."""
    settings = wandb.setup().settings
    if settings.api_key or settings.identity_token_file:
        return True
    try:
        known = netrc.netrc(os.environ.get("NETRC")).hosts
    except (OSError, netrc.NetrcParseError):
        return False
    server = urlsplit(settings.base_url).netloc
    earlier = {"api.wandb.ai"} if server.endswith((".wandb.ai", ".coreweave.com")) else set()
    return bool(({server} | earlier) & known.keys())


def _wandb_id(run: Path) -> str | None:
    """The id under which W&B knows a run that goes on in its folder; it names its own folders DAY_TIME-ID."""
    kept = sorted((run / "wandb").glob("*run-*-*"), key=lambda folder: folder.name.partition("run-")[2])
    return kept[-1].name.rpartition("-")[2] if kept else None
