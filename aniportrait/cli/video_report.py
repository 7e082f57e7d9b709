"""What is written of scored videos: results.json, tables and a page."""

import hashlib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from aniportrait.cli.evaluation_log import log_scores
from aniportrait.data.media import probe, read_video, write_video
from aniportrait.data.whole_file import write_text
from aniportrait.evaluation.markdown import write_tables
from aniportrait.evaluation.report import write_report
from aniportrait.evaluation.report_sections import Column, Part, Row, Section, Table, Video
from aniportrait.evaluation.scores import Score
from aniportrait.evaluation.video_files import PairFiles
from aniportrait.evaluation.video_metric import VideoMetric
from aniportrait.evaluation.video_scores import VideoScores
from aniportrait.evaluation.video_systems import COPY, DRIVING, GENERATED, REAL

log = logging.getLogger(__name__)

TOPICS = {"pictures": "Pictures", "face": "Face", "motion": "Motion", "sound": "Lips and sound"}
SHOWN = 3
"""Best and worst clips that are shown of each."""
KINDS: dict[str, Literal["ours", "baseline", "control", "bound"]] = {
    GENERATED: "ours",
    REAL: "bound",
    DRIVING: "bound",
    COPY: "baseline",
}


def write_video_results(
    config: DictConfig,
    files: Sequence[PairFiles],
    metrics: Mapping[str, VideoMetric],
    skipped: Mapping[str, str],
    scores: VideoScores,
) -> None:
    """out/results.json, out/tables.md, out/report.html and the clips that it shows, out/samples."""
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    results = video_results(config, files, metrics, skipped, scores)
    write_text(out / "results.json", json.dumps(results, indent=1, allow_nan=False) + "\n")
    sections: list[Section] = [
        *score_tables(metrics, scores),
        *_explanations(metrics, skipped, scores),
    ]
    parts = [Part("Videos", sections), *_shown_clips(config, files, metrics, scores)]
    write_tables(out / "tables.md", parts)
    summary = (
        f"{len(files)} videos of {config.videos.generated}"
        + (f" against {config.videos.real}" if config.videos.real else ", without real ones")
        + f", {len(scores.failures)} of them unreadable; {', '.join(results['protocol']['resolution'])} pixels, "
        f"{', '.join(f'{rate:g}' for rate in results['protocol']['fps'])} fps. Intervals: resampled over clips, 95 %."
    )
    page = write_report(out / "report.html", parts, title="Scores of videos", summary=summary)
    shown = {
        section.title: Path(section.path)
        for part in parts
        for section in part.sections
        if isinstance(section, Video)
    }
    log_scores(config, results["scores"], page, shown)
    log.info("report: %s", page)


def video_results(
    config: DictConfig,
    files: Sequence[PairFiles],
    metrics: Mapping[str, VideoMetric],
    skipped: Mapping[str, str],
    scores: VideoScores,
) -> dict[str, Any]:
    """All that was found, and all that it depends on, as JSON takes it."""
    table: dict[str, dict[str, Any]] = {}
    for (system, name), score in scores.scores.items():
        table.setdefault(system, {})[name] = {
            "value": score.value if math.isfinite(score.value) else None,
            "scored": score.scored,
            "given": score.given,
            "interval": score.interval,
        }
    probed = [probe(pair.generated) for pair in files if pair.key not in scores.failures]
    rates = sorted({float(config.videos.fps or round(video.fps, 3)) for video in probed})
    size = config.videos.size
    sizes = sorted({f"{size or video.width} x {size or video.height}" for video in probed})
    return {
        "command": " ".join(("python evaluate.py", *HydraConfig.get().overrides.task)),
        "videos": {name: config.videos[name] for name in ("generated", "real", "reference", "driving")},
        "protocol": {
            "resolution": sizes,
            "fps": rates,
            "crop": "none: frames as they are",
            "landmarks": "MediaPipe face landmarker, each frame by itself, at the scored resolution",
            "seed": config.seed,
            "real videos": _digest(files) if config.videos.real else None,
            **_protocol(config),
        },
        "backends": {name: metric.backend for name, metric in metrics.items()},
        "skipped": dict(skipped),
        "not scored": {f"{system}: {name}": reasons for (system, name), reasons in scores.reasons.items()},
        "notes": {f"{system}: {name}": note for (system, name), note in scores.notes.items()},
        "failures": scores.failures,
        "remarks": scores.remarks,
        "scores": table,
        "clips": {
            clip: {
                system: {name: value if math.isfinite(value) else None for name, value in of.items()}
                for system, of in systems.items()
            }
            for clip, systems in scores.clips.items()
        },
    }


def _digest(files: Sequence[PairFiles]) -> str:
    """Of the names and sizes of the real videos: other truths, another digest."""
    known = [[pair.key, pair.real.stat().st_size] for pair in files if pair.real is not None]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]


def _protocol(config: DictConfig) -> dict[str, Any]:
    """What the protocol states, if the videos are of one."""
    if config.protocol is None or config.weights is None:
        return {}
    stated: Any = OmegaConf.to_container(config.protocol, resolve=True)
    return stated


def score_tables(metrics: Mapping[str, VideoMetric], scores: VideoScores) -> list[Table]:
    """One table a topic; systems down, metrics across."""
    systems = list(dict.fromkeys(system for system, _ in scores.scores))
    tables = []
    for topic, title in TOPICS.items():
        names = [name for name, metric in metrics.items() if metric.topic == topic]
        names = [name for name in names if any((system, name) in scores.scores for system in systems)]
        if names:
            columns = [
                Column(name, metrics[name].unit, metrics[name].higher_is_better, metrics[name].digits)
                for name in names
            ]
            rows = [
                Row(system, [_cell(scores, system, name) for name in names], KINDS.get(system, "control"))
                for system in systems
            ]
            tables.append(Table(title, columns, rows, _notes(names, scores)))
    return tables


def _notes(names: Sequence[str], scores: VideoScores) -> str:
    """What is to be said beside these metrics, each thing once; of which systems, if not of all."""
    metrics: dict[tuple[str, str], list[str]] = {}
    for (system, name), note in scores.notes.items():
        if name in names:
            metrics.setdefault((system, note), []).append(name)
    systems: dict[tuple[str, str], list[str]] = {}
    for (system, note), of in metrics.items():
        systems.setdefault((", ".join(of), note), []).append(system)
    every = {system for system, name in scores.scores if name in names}
    sentences = []
    for (of, note), said in systems.items():
        whose = "" if set(said) == every else f" ({', '.join(said)})"
        sentences.append(f"{of}{whose}: {note}.")
    return " ".join(sentences)


def _cell(scores: VideoScores, system: str, name: str) -> Score | str | None:
    score = scores.scores.get((system, name))
    if score is not None and score.scored == 0:
        return f"0 of {score.given} clips"
    return score


def _explanations(
    metrics: Mapping[str, VideoMetric], skipped: Mapping[str, str], scores: VideoScores
) -> list[Section]:
    sections: list[Section] = []
    if skipped:
        rows = [Row(name, [why]) for name, why in skipped.items()]
        sections.append(Table("Not computed here", [Column("why, and what to do")], rows))
    rows = [
        Row(name, [f"{system}: {len(clips)} clips", reason])
        for (system, name), reasons in scores.reasons.items()
        for reason, clips in reasons.items()
    ]
    rows += [Row(clip, ["the whole clip", why]) for clip, why in scores.failures.items()]
    rows += [Row(clip, ["a part of it", remark]) for clip, remark in scores.remarks.items()]
    if rows:
        sections.append(Table("Left out", [Column("what"), Column("why")], rows))
    rows = [Row(name, [metric.backend]) for name, metric in metrics.items()]
    sections.append(Table("How each figure is made", [Column("backend and protocol")], rows))
    return sections


def _shown_clips(
    config: DictConfig, files: Sequence[PairFiles], metrics: Mapping[str, VideoMetric], scores: VideoScores
) -> list[Part]:
    """The worst and best clips by `rank_by`, or by the first metric that tells better from worse clip by clip."""
    ranked = [config.rank_by] if config.rank_by else list(metrics)
    for name in ranked:
        figures = {
            clip: of[GENERATED][name]
            for clip, of in scores.clips.items()
            if math.isfinite(of.get(GENERATED, {}).get(name, math.nan))
        }
        if figures and metrics[name].higher_is_better is not None:
            break
    else:
        if config.rank_by:
            log.warning("no clip has a figure of rank_by=%s: none is shown", config.rank_by)
        return []
    order = sorted(figures, key=lambda clip: figures[clip], reverse=bool(metrics[name].higher_is_better))
    best, worst = order[:SHOWN], order[SHOWN:][::-1][:SHOWN]
    by_key = {pair.key: pair for pair in files}
    videos = []
    for kind, clips in (("worst", worst), ("best", best)):
        for number, clip in enumerate(clips, 1):
            path = Path(config.out) / "samples" / f"{kind}_{number}.mp4"
            _write_side_by_side(by_key[clip], path)
            videos.append(
                Video(f"{kind} {number}: {clip}", path, f"{name} {figures[clip]:.{metrics[name].digits}f}")
            )
    shown = " and ".join(what for what in ("generated", "real", "driving") if config.videos[what])
    return [Part(f"Worst and best clips by {name}", videos, f"Each video: {shown}.")]


def _write_side_by_side(pair: PairFiles, path: Path) -> None:
    """The generated video, and beside it the real and the driving one."""
    files = [file for file in (pair.generated, pair.real, pair.driving) if file is not None]
    rate = probe(pair.generated).fps
    frames = (_side_by_side(*row) for row in zip(*(read_video(file, rate) for file in files), strict=False))
    sound = next((file for file in files if probe(file).has_audio), None)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, frames, rate, sound)


def _side_by_side(ours: np.ndarray, *others: np.ndarray) -> np.ndarray:
    """Frames in a row, all in the size of the first."""
    row = [ours]
    for other in others:
        rows = (np.arange(ours.shape[0]) * other.shape[0] / ours.shape[0]).astype(int)
        columns = (np.arange(ours.shape[1]) * other.shape[1] / ours.shape[1]).astype(int)
        row.append(other[rows][:, columns])
    return np.concatenate(row, axis=1)
