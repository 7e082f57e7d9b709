"""python prepare.py: clips -> shards."""

import logging
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig

from aniportrait.cli.preparation_report import write_preparation_report
from aniportrait.cli.prepare_latents import prepare_latents
from aniportrait.cli.prepare_show import show_shards
from aniportrait.data.clip_preparation import PreparationSettings
from aniportrait.data.clip_report import Reported
from aniportrait.data.preprocess import Partition, Preparation
from aniportrait.data.synthetic import SyntheticTalkers

log = logging.getLogger(__name__)


def prepare_shards(config: DictConfig) -> None:
    """Do the step that `config.step` names."""
    steps = {"clips": _prepare_clips, "merge": _merge, "latents": prepare_latents, "show": show_shards}
    if config.step not in steps:
        raise ValueError(f"step ({config.step}) must be one of {', '.join(steps)}")
    steps[config.step](config)


def _prepare_clips(config: DictConfig) -> None:
    """Clips -> shards; or, with a partition, a share of the clips for a later merge."""
    source = instantiate(config.source)
    if isinstance(source, SyntheticTalkers):
        if config.partition is not None:
            raise ValueError(
                f"partition={config.partition}: source=synthetic is drawn in one go, leave it out"
            )
        replace(source, workers=config.workers or os.cpu_count() or 1).write(config.out)
        log.info("wrote the embedded data set to %s", config.out)
        return
    preparation = _preparation(config, source)
    if config.partition is None:
        _say(preparation.run(config.workers, _illustrate), config)
        return
    partition = Partition.read(config.partition)
    count = preparation.run_partition(partition, config.workers)
    log.info(
        "partition %s: %d clips are prepared; when all partitions are: %s",
        config.partition,
        count,
        shlex.join(["python", *sys.argv[:1], "step=merge"]) + " with the same settings",
    )


def _merge(config: DictConfig) -> None:
    """Shards out of what all partitions prepared."""
    source = instantiate(config.source)
    if isinstance(source, SyntheticTalkers):
        raise ValueError("step=merge: source=synthetic has no partitions, step=clips writes its shards")
    _say(_preparation(config, source).merge(_illustrate, config.workers), config)


def _preparation(config: DictConfig, source: Any) -> Preparation:
    settings = PreparationSettings(
        image_size=config.image_size,
        fps=config.fps,
        margin=config.margin,
        scenes=config.scenes,
        cut_threshold=config.cut_threshold,
        longest_seconds=config.longest_seconds,
        gates=instantiate(config.gates),
    )
    out, task_file = Path(config.out), config.paths.face_landmarker
    return Preparation(source, out, settings, config.clips_per_shard, task_file)


def _illustrate(folder: Path, report: dict[str, Any], reported: Sequence[Reported]) -> None:
    write_preparation_report(folder / "report.html", report, reported)


def _say(report: dict[str, Any], config: DictConfig) -> None:
    for drop in report["dropped"]:
        log.warning("dropped %s: %s", drop["clip"], drop["reason"])
    log.info(
        "%d samples (%.0f s) from %d clips, %d dropped, shards in %s, pictures in report.html",
        report["kept"],
        report["seconds"],
        report["clips"],
        len(report["dropped"]),
        config.out,
    )
