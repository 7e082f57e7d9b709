"""python animate.py: a portrait speaks, or follows a driving video."""

import logging
from dataclasses import fields
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from aniportrait.cli.animation_list import FILES, Row, read_list
from aniportrait.cli.progress import Progress
from aniportrait.cli.sentences import sentence_of
from aniportrait.pipelines.animator import Animator
from aniportrait.pipelines.request import Request

log = logging.getLogger(__name__)

CONTAINERS = (".mp4", ".mov", ".m4v")


def animate(config: DictConfig) -> None:
    """Write the video, or the videos of a list, that `config` asks for."""
    if config.list is not None:
        _animate_list(config, read_list(Path(config.list), _folder(config)))
        return
    request = Request(**_settings(config))
    _check_out(Path(config.out))
    _write(animator(config), request, Path(config.out))


def animator(config: DictConfig) -> Animator:
    """The networks of `config.weights`, as `config` wants them to run."""
    return Animator(
        config.weights,
        pretrained=config.paths.pretrained,
        face_landmarker=config.paths.face_landmarker,
        device=config.device,
        precision=config.precision,
        compile=config.compile,
        context=config.context,
        image_size=config.image_size,
    )


def _settings(config: DictConfig) -> dict[str, Any]:
    """What `config` says of every field of a Request."""
    settings = {field.name: config[field.name] for field in fields(Request)}
    if settings["guidance_interval"] is not None:
        settings["guidance_interval"] = tuple(settings["guidance_interval"])
    return settings


def _animate_list(config: DictConfig, rows: list[Row]) -> None:
    """One after the other; a row that cannot be made is said and passed over, what is there already is left alone."""
    for row in rows:
        _check_out(row.out)
    shared, failed, present, made = _settings(config), [], 0, animator(config)
    for row in rows:
        if row.out.exists():
            present += 1
            continue
        try:
            _write(made, Request(**shared | dict(row.settings)), row.out)
        except (ValueError, OSError) as error:
            log.error("row %d: %s", row.number, sentence_of(error))
            failed.append(row.number)
    if present:
        log.info("%d of %d videos were there already: remove them to make them anew", present, len(rows))
    if failed:
        numbers = ", ".join(map(str, failed))
        raise ValueError(
            f"{len(failed)} of {len(rows)} rows of list={config.list} could not be animated: {numbers}"
        )


def _folder(config: DictConfig) -> Path:
    """Where the videos of a list go."""
    out = Path(config.out)
    return out.with_suffix("") if out.suffix.lower() in CONTAINERS else out


def _check_out(out: Path) -> None:
    if out.suffix.lower() not in CONTAINERS:
        raise ValueError(f"out={out} must end in {', '.join(CONTAINERS[:-1])} or {CONTAINERS[-1]}")
    if out.is_dir():
        raise ValueError(f"out={out} is a folder")


def _write(made: Animator, request: Request, out: Path) -> None:
    for name in FILES:
        given = getattr(request, name)
        if isinstance(given, str | Path) and out.exists() and Path(given).exists() and out.samefile(given):
            raise ValueError(f"out={out} is what {name}= names: it would be overwritten")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"out={out} cannot be written there: {error.strerror}") from error
    with Progress() as progress:
        animation = made.animate(request, progress)
        animation.save(out, progress)
    log.info("wrote %s: %d frames at %g fps", out, len(animation), animation.fps)
