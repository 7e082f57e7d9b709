"""python prepare.py: clips -> shards."""

import logging

from hydra.utils import instantiate
from omegaconf import DictConfig

from aniportrait.cli.prepare_latents import prepare_latents
from aniportrait.cli.prepare_show import show_shards
from aniportrait.data.preprocess import prepare
from aniportrait.data.synthetic import SyntheticTalkers

log = logging.getLogger(__name__)


def prepare_shards(config: DictConfig) -> None:
    """Do the step that `config.step` names."""
    steps = {"clips": _prepare_clips, "latents": prepare_latents, "show": show_shards}
    if config.step not in steps:
        raise ValueError(f"step ({config.step}) must be one of {', '.join(steps)}")
    steps[config.step](config)


def _prepare_clips(config: DictConfig) -> None:
    """Write the shards of `config.source` into `config.out`, and say what was kept."""
    source = instantiate(config.source)
    if isinstance(source, SyntheticTalkers):
        source.write(config.out)
        log.info("wrote the embedded data set to %s", config.out)
        return
    report = prepare(
        source,
        config.out,
        fps=config.fps,
        image_size=config.image_size,
        workers=config.workers,
        clips_per_shard=config.clips_per_shard,
        task_file=config.paths.face_landmarker,
    )
    for drop in report["dropped"]:
        log.warning("dropped %s: %s", drop["clip"], drop["reason"])
    log.info("kept %d of %d clips, shards in %s", report["kept"], report["clips"], config.out)
