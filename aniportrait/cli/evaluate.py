"""python evaluate.py: networks of a weights folder, or videos, scored beside their baselines, in one page."""

import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig
from PIL import Image
from scipy.io import wavfile

from aniportrait.checkpoints.store import Weights, open_weights
from aniportrait.cli.compare_runs import compare_runs
from aniportrait.cli.evaluate_frames import evaluate_stage1
from aniportrait.cli.evaluate_head_motion import evaluate_audio2pose
from aniportrait.cli.evaluate_motion import evaluate_motion
from aniportrait.cli.evaluate_speech import evaluate_audio2mesh
from aniportrait.cli.evaluate_videos import evaluate_videos
from aniportrait.cli.evaluation_log import log_scores
from aniportrait.cli.portrait_trials import warn_of_trained_frames
from aniportrait.cli.protocol_videos import evaluate_protocol
from aniportrait.data.clip_codec import decode_frames
from aniportrait.data.media import write_video
from aniportrait.data.mixture import one_folder
from aniportrait.data.schema import SAMPLE_RATE
from aniportrait.data.shards import ShardIndex, read_sample
from aniportrait.data.whole_file import write_text
from aniportrait.evaluation.curves import read_curves
from aniportrait.evaluation.markdown import write_tables
from aniportrait.evaluation.report import write_report
from aniportrait.evaluation.report_sections import Curves, Part, Section, Table, Video
from aniportrait.evaluation.scores import Score

log = logging.getLogger(__name__)

EVALUATIONS = {
    "audio2mesh": evaluate_audio2mesh,
    "audio2pose": evaluate_audio2pose,
    "denoising_unet": evaluate_stage1,
    "motion_module": evaluate_motion,
}
"""Network -> what scores it: (weights, index, config) -> a part of the report."""

SCORED_ON_TRAINING_CLIPS = ("denoising_unet", "motion_module")
"""Networks that are scored on the last fifth of a training clip; the others are trained on the whole of it."""


def evaluate(config: DictConfig) -> None:
    """Score what the config names: networks, videos, or runs that were scored already."""
    asked = {
        "weights": config.weights is not None,
        "videos.generated": config.videos.generated is not None,
        "compare": config.compare is not None,
    }
    if sum(asked.values()) != 1:
        given = " and ".join(name for name, there in asked.items() if there) or "none"
        raise ValueError(
            f"evaluate needs one of {', '.join(f'{name}=' for name in asked)} and was given {given}"
        )
    if config.compare is not None:
        compare_runs(config)
    elif config.weights is None:
        evaluate_videos(config)
    else:
        evaluate_weights(config)


def evaluate_weights(config: DictConfig) -> None:
    """Score the networks of the weights, or by a protocol their videos; write what came out."""
    weights = open_weights(config.weights)
    index = _index(config)
    if config.split is None:
        config.split = "test" if index.of_split("test") else "val"
        if config.split == "val":
            log.warning("%s has no test clips: the val clips are scored", index.folder)
    if config.protocol is not None:
        evaluate_protocol(config, index)
        return
    if not index.of_split(config.split):
        raise ValueError(f"{index.folder} holds no clip of split={config.split}")
    out = Path(config.out)
    write_example(index, config.split, out / "samples")
    parts: list[Part] = []
    for network in _scored(weights, config):
        parts.append(EVALUATIONS[network](weights, index, config))
    sections = [section for part in parts for section in part.sections]
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "results.json", json.dumps(_results(config, index, sections), indent=1) + "\n")
    write_tables(out / "tables.md", parts)
    curves = _training_curves(config.runs)
    page = write_report(
        out / "report.html", [*parts, *curves], title="AniPortrait", summary=_summary(weights, index, config)
    )
    videos = {section.title: Path(section.path) for section in sections if isinstance(section, Video)}
    log_scores(config, _figures(sections), page, videos)
    log.info("report: %s", page)


def write_example(index: ShardIndex, split: str, folder: Path) -> None:
    """portrait.png, voice.wav and truth.mp4 of the longest clip with sound: something to try animate.py on."""
    spoken = [entry for entry in index.of_split(split) if entry.has_audio]
    if not spoken:
        return
    sample = read_sample(index.folder, max(spoken, key=lambda entry: entry.frames))
    frames = decode_frames(sample.video, range(sample.meta.frames))
    calmest = int(
        np.argmin(np.linalg.norm(sample.track.vertices - sample.neutral_vertices, axis=-1).mean(axis=-1))
    )
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(frames[calmest]).save(folder / "portrait.png")
    write_video(folder / "truth.mp4", list(frames), sample.meta.fps, sample.audio)
    voice = np.zeros(0) if sample.audio is None else sample.audio
    wavfile.write(folder / "voice.wav", SAMPLE_RATE, np.round(np.clip(voice, -1, 1) * 32767).astype(np.int16))


def _scored(weights: Weights, config: DictConfig) -> list[str]:
    """The networks that these weights hold, `only` allows and the split can judge."""
    allowed = list(EVALUATIONS) if config.only is None else list(config.only)
    if unknown := sorted(set(allowed) - set(EVALUATIONS)):
        raise ValueError(f"only={','.join(unknown)} must name some of {', '.join(EVALUATIONS)}")
    if config.split == "train":
        allowed = [network for network in allowed if network in SCORED_ON_TRAINING_CLIPS]
        warn_of_trained_frames(config.weights)
    scored = [network for network in EVALUATIONS if network in allowed and network in weights]
    if not scored:
        raise ValueError(
            f"{weights.source} holds no network that can be scored on split={config.split}: "
            f"{', '.join(weights.networks)}"
        )
    return scored


def _index(config: DictConfig) -> ShardIndex:
    folder = one_folder(config.data.folder, "evaluate.py")
    if config.data.build is not None and not (Path(folder) / "index.json").is_file():
        instantiate(config.data.build).write(folder)
    return ShardIndex.load(folder)


def _summary(weights: Weights, index: ShardIndex, config: DictConfig) -> str:
    clips = index.of_split(config.split)
    people = len({clip.identity for clip in clips})
    seen = "frames of the last fifth alone" if config.split == "train" else "none of them seen in training"
    return (
        f"{', '.join(sorted(weights.networks))} from {config.weights}, scored on the {len(clips)} {config.split} clips "
        f"({people} identities, {seen}) of {index.folder}, seed {config.seed}."
    )


def _results(config: DictConfig, index: ShardIndex, sections: Sequence[Section]) -> dict[str, Any]:
    """All that was found, and all that it depends on, as JSON takes it."""
    tables = [section for section in sections if isinstance(section, Table)]
    return {
        "command": " ".join(("python evaluate.py", *HydraConfig.get().overrides.task)),
        "weights": str(config.weights),
        "rivals": list(config.rivals),
        "data": str(index.folder),
        "split": config.split,
        "seed": config.seed,
        "protocol": {
            "resolution of the clips": f"{index.image_size} x {index.image_size}",
            "fps": index.fps,
            "crop": "the data set's own, of its preparation",
            "landmarks": "MediaPipe face landmarker, each frame by itself",
        },
        "notes": {table.title: table.note for table in tables},
        "scores": {table.title: _rows(table) for table in tables},
    }


def _rows(table: Table) -> dict[str, dict[str, Any]]:
    return {
        row.name: {column.name: _cell(cell) for column, cell in zip(table.columns, row.cells, strict=True)}
        for row in table.rows
    }


def _figures(sections: Sequence[Section]) -> dict[str, dict[str, Any]]:
    """Table and system -> column -> figure, of all that are numbers."""
    return {
        f"{section.title}/{row.name}": {
            column.name: _cell(cell) if isinstance(cell, Score) else {"value": cell}
            for column, cell in zip(section.columns, row.cells, strict=True)
            if isinstance(cell, Score | float)
        }
        for section in sections
        if isinstance(section, Table)
        for row in section.rows
    }


def _cell(cell: Score | float | str | None) -> Any:
    if not isinstance(cell, Score):
        return cell
    value = cell.value if math.isfinite(cell.value) else None  # json knows no infinity
    answer = {"value": value, "scored": cell.scored, "given": cell.given, "interval": cell.interval}
    if cell.seed_spread is not None:
        answer |= {"sampling seeds": cell.per_seed, "std over sampling seeds": cell.seed_spread}
    return answer


def _training_curves(runs: str | None) -> list[Part]:
    if runs is None:
        return []
    sections = []
    for log_file in sorted(Path(runs).glob("*/csv/metrics.csv")):
        curves = read_curves(log_file)
        for prefix, name in (("loss/", "training loss"), ("val/", "validation")):
            lines = {key.removeprefix(prefix): line for key, line in curves.items() if key.startswith(prefix)}
            if lines:
                smooth = 15 if prefix == "loss/" else 1
                title = f"{log_file.parents[1].name}: {name}"
                sections.append(Curves(title, lines, x_label="step", smooth=smooth))
    return [Part("Training", sections)] if sections else []
