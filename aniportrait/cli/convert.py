"""python convert.py: a folder of published checkpoints -> a weights folder of ours, and back."""

import copy
import logging
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hydra import compose
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from aniportrait.checkpoints.frozen_encoders import ENCODERS, read_encoder, write_encoder
from aniportrait.checkpoints.published import (
    FILES,
    Found,
    checked_sizes,
    find_published,
    own_positions,
    to_ours,
    write_published,
)
from aniportrait.checkpoints.published_configs import read_unsaid, write_configs
from aniportrait.checkpoints.published_sizes import Unsaid, motion_widths
from aniportrait.checkpoints.store import WeightsError, open_weights, save_weights
from aniportrait.cli.networks import card_with, differing_choices, node_of, set_numbers
from aniportrait.pipelines.saved_choices import sizes_of

log = logging.getLogger(__name__)

PUBLISHED = {
    "model": "sd15",
    "autoencoder": "sd_vae",
    "image_encoder": "clip",
    "audio_encoder": "wav2vec2",
    "mesh_head": "published",
    "audio2pose": "published",
    "pose_guider": "published",
    "noise_schedule": "published_sampling",
    "latent_space": "absolute",
    "windows": "closed_loop",
}
"""The choices that reproduce what the published weights did; an option of each group in conf/."""

POSE_GUIDERS = {"batch": "published", "running": "published_running"}
"""Setting `guider_statistics` -> option of the config group `pose_guider`."""

UNREAD = {"film_net_fp16": "frame interpolation, which is not part of this project"}
"""Published files that are known and left alone, by stem -> why."""

NETWORKS = (*FILES, *ENCODERS)


def convert(config: DictConfig) -> None:
    """Import `config.published` or export `config.weights` into the new folder `config.out`."""
    if (config.published is None) == (config.weights is None):
        raise ValueError("convert needs either published=FOLDER or weights=FOLDER, one of them")
    wanted = NETWORKS if config.only is None else tuple(config.only)
    for name in wanted:
        if name not in NETWORKS:
            raise ValueError(f"only holds {name}, which must be one of {', '.join(NETWORKS)}")
    with _new_folder(Path(config.out)) as folder:
        if config.published is not None:
            import_published(Path(config.published), folder, wanted, config)
        else:
            export_published(Path(config.weights), folder, wanted)
    log.info("wrote %s", config.out)


def import_published(source: Path, folder: Path, wanted: Collection[str], config: DictConfig) -> None:
    """Check every file of `source`, then write what it holds into `folder` as safetensors and model.json."""
    if not source.is_dir():
        raise FileNotFoundError(f"published={source} is no folder: give the one that download.py filled")
    found = find_published(source, wanted)
    encoders = {n: source / ENCODERS[n].folder for n in ENCODERS if n in wanted}
    encoders = {name: path for name, path in encoders.items() if path.is_dir()}
    if not found and not encoders:
        names = ", ".join(name for row in FILES.values() for name in row.names)
        raise WeightsError(f"published={source} holds none of the published files ({names})")
    unsaid, image_size = read_unsaid(source, _given(config))
    sizes = {name: _checked(name, found[name], unsaid) for name in found}
    _check_together(sizes, found)
    choices = PUBLISHED | {"pose_guider": _pose_guider(config)}
    base = compose("networks", overrides=[f"{group}={option}" for group, option in choices.items()])
    base.fps, base.image_size = config.fps, config.image_size or image_size
    parts = tqdm((*found, *encoders), "writing", unit="network")
    for name in parts:
        parts.set_postfix_str(name)
        if name in encoders:
            sizes[name], state = read_encoder(name, encoders[name])
        else:
            state = to_ours(name, found.pop(name))
        save_weights(folder, {name: state}, {name: _card(base, name, sizes[name], choices)})
    _check_together(sizes)  # with the encoders
    _say_what_is_missing(source, [name for name in wanted if name not in sizes])


def export_published(source: Path, folder: Path, wanted: Collection[str]) -> None:
    """Write what `source` holds into `folder` as published files."""
    weights = open_weights(source)
    names = [name for name in NETWORKS if name in weights and name in wanted]
    for name in list(names):
        ours = differing_choices(weights, name, PUBLISHED)
        ours.pop("model", None)  # sizes may be any
        if ours:
            said = ", ".join(f"{group}={option}" for group, option in ours.items())
            log.warning("%s is left out: %s has no published counterpart", name, said)
            names.remove(name)
    if not names:
        raise WeightsError(f"{source} holds no network that has a published counterpart")
    for name in tqdm(names, "writing", unit="network"):
        sizes = sizes_of(weights, name)
        if name in ENCODERS:
            write_encoder(folder, name, weights.states[name], sizes)
        else:
            write_published(folder, name, weights.states[name], sizes)
    write_configs(folder, {name: weights.card(name) for name in names})


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A folder that becomes `out` when all went well, and is gone when not."""
    if out.exists():
        raise ValueError(f"out={out} exists already: give the name of a folder that does not")
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        yield folder
        folder.chmod(0o755)
        os.replace(folder, out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _given(config: DictConfig) -> dict[str, int]:
    """The settings of `config` that are set, under the names of Unsaid."""
    numbers = {f"{name}_heads": value for name, value in config.heads.items()}
    return {k: v for k, v in (numbers | {"norm_num_groups": config.norm_num_groups}).items() if v is not None}


def _checked(name: str, found: Found, unsaid: Unsaid) -> dict[str, Any]:
    sizes = checked_sizes(name, found, unsaid)
    log.info("%s: %s, %d tensors, all in place", name, found.file.name, len(found.state))
    if others := own_positions(found):
        log.warning(
            "%s holds %d positional encodings (%s, ...) that are not the sines and cosines we compute in their place",
            found.file,
            len(others),
            others[0],
        )
    return sizes


def _card(
    base: DictConfig, name: str, sizes: Mapping[str, Any], choices: Mapping[str, str]
) -> dict[str, Any]:
    config = copy.deepcopy(base)
    OmegaConf.resolve(config)
    set_numbers(node_of(config, name), sizes, name)
    return card_with(config, name, choices)


def _pose_guider(config: DictConfig) -> str:
    if config.guider_statistics not in POSE_GUIDERS:
        raise ValueError(
            f"guider_statistics={config.guider_statistics} must be one of {', '.join(POSE_GUIDERS)}"
        )
    return POSE_GUIDERS[config.guider_statistics]


def _check_together(
    sizes: Mapping[str, Mapping[str, Any]], found: Mapping[str, Found] = MappingProxyType({})
) -> None:
    """Networks that work together must agree on the widths they share."""
    unet = sizes.get("denoising_unet", {})
    if unet and "motion_module" in found:
        widths = motion_widths(found["motion_module"].state)
        for key in ("block_out_channels", "layers_per_block"):
            if widths[key] != unet[key]:
                raise WeightsError(
                    f"motion_module has {key} {widths[key]}, denoising_unet {unet[key]}: they do not belong together"
                )
    shared = [("pose_guider", "block_out_channels", "block_out_channels")]
    shared += [("autoencoder", "latent_channels", "in_channels")]
    shared += [("image_encoder", "projection_dim", "cross_attention_dim")]
    shared += [("reference_net", key, key) for key in unet]
    for name, key, of_unet in shared:
        numbers = sizes.get(name, {})
        number = numbers.get("sizes", numbers).get(key)
        if unet and number is not None and number != unet[of_unet]:
            raise WeightsError(
                f"{name} has {key} {number}, denoising_unet {of_unet} {unet[of_unet]}: they do not belong together"
            )


def _say_what_is_missing(source: Path, missing: list[str]) -> None:
    for stem, reason in UNREAD.items():
        for file in source.glob(f"{stem}.*"):
            log.info("%s is left alone: %s", file.name, reason)
    if missing:
        files = {
            name: f"{ENCODERS[name].folder}/" if name in ENCODERS else FILES[name].names[0]
            for name in missing
        }
        log.warning(
            "not in %s, hence not in the result: %s",
            source,
            ", ".join(f"{name} ({file})" for name, file in files.items()),
        )
