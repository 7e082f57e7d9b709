"""python evaluate.py compare=[A,B,...]: scored videos side by side, paired clip by clip."""

import json
import logging
import math
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from aniportrait.cli.evaluation_log import log_scores
from aniportrait.data.whole_file import write_text
from aniportrait.evaluation.markdown import write_tables
from aniportrait.evaluation.paired_clips import common_clips, over_common_clips, paired_difference
from aniportrait.evaluation.report import write_report
from aniportrait.evaluation.report_sections import Column, Part, Row, Section, Table
from aniportrait.evaluation.scores import Score
from aniportrait.evaluation.video_systems import GENERATED

log = logging.getLogger(__name__)

MUST_AGREE = {
    "name": "protocol",
    "version": "version of the protocol",
    **{what: what for what in ("task", "resolution", "fps", "crop", "seconds", "landmarks", "real videos")},
}
"""Of results.json's protocol, and what errors call it: figures under others cannot be compared."""

Runs = dict[str, dict[str, Any]]
"""Folder -> its results.json."""

ByClip = dict[str, dict[str, dict[str, float]]]
"""Metric -> folder -> clip -> figure of the generated video."""


def compare_runs(config: DictConfig) -> None:
    """Write out/comparison.json, out/tables.md and out/report.html of folders that evaluate.py scored videos into."""
    runs = _read_runs([str(folder) for folder in config.compare])
    metrics = _common_metrics(runs)
    by_clip = {name: {run: _figures(results, name) for run, results in runs.items()} for name in metrics}
    by_clip = {name: figures for name, figures in by_clip.items() if common_clips(figures)}
    over_all = [name for name in metrics if name not in by_clip and not _is_by_clip(runs, name)]
    if not by_clip and not over_all:
        raise ValueError(f"{', '.join(runs)} have no clip in common")
    means, differences = _paired(runs, by_clip, config.seed)
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    written = {
        "runs": {run: results["command"] for run, results in runs.items()},
        "means": {row.name: _cells(row, list(by_clip)) for row in means},
        "differences": {row.name: _cells(row, list(by_clip)) for row in differences},
        "whole sets": {run: {name: _value(of, name) for name in over_all} for run, of in runs.items()},
    }
    write_text(out / "comparison.json", json.dumps(written, indent=1, allow_nan=False) + "\n")
    sections = _tables(runs, list(by_clip), means, differences, over_all)
    write_tables(out / "tables.md", sections)
    page = write_report(out / "report.html", [Part("", sections)], "Comparison", ", ".join(runs))
    log_scores(config, written["means"], page)
    log.info("report: %s", page)


def _paired(runs: Runs, by_clip: ByClip, seed: int) -> tuple[list[Row], list[Row]]:
    """Means of each run over common clips, and what each later run differs by from the first."""
    given = max(len(results["clips"]) + len(results["failures"]) for results in runs.values())
    clips = {name: common_clips(figures) for name, figures in by_clip.items()}
    first, *others = runs
    means = [
        Row(run, [over_common_clips(of[run], clips[name], given, seed) for name, of in by_clip.items()])
        for run in runs
    ]
    differences = [
        Row(
            f"{run} less {first}",
            [paired_difference(of[run], of[first], clips[name], given, seed) for name, of in by_clip.items()],
        )
        for run in others
    ]
    return means, differences


def _tables(
    runs: Runs, by_clip: list[str], means: list[Row], differences: list[Row], over_all: list[str]
) -> list[Section]:
    sections: list[Section] = []
    if by_clip:
        columns = [Column(name, digits=4) for name in by_clip]
        sure = "An interval without 0 is a sure difference."
        sections.append(Table("Means over common clips", columns, means))
        sections.append(Table("Differences, paired clip by clip", columns, differences, sure))
    if over_all:
        rows = [Row(run, [_whole(results, name) for name in over_all]) for run, results in runs.items()]
        note = (
            "Figures of all clips of a run together: they have no pairs, and depend on which clips these are."
        )
        sections.append(Table("Of whole sets", [Column(name) for name in over_all], rows, note))
    return sections


def _read_runs(folders: list[str]) -> Runs:
    """Folder -> its results; ValueError where they cannot be compared."""
    if len(set(folders)) < 2:
        raise ValueError(f"compare={folders} must name at least two folders")
    runs = {}
    for folder in folders:
        file = Path(folder) / "results.json"
        if not file.is_file():
            raise FileNotFoundError(f"compare: {folder} holds no results.json; evaluate.py writes it")
        results = json.loads(file.read_text())
        if "clips" not in results:
            raise ValueError(
                f"compare: {file} is not of scored videos (evaluate.py videos.generated=DIR writes such)"
            )
        runs[folder] = results
    first, *others = runs.items()
    for folder, results in others:
        for what, words in MUST_AGREE.items():
            ours, theirs = first[1]["protocol"].get(what), results["protocol"].get(what)
            if ours != theirs:
                raise ValueError(
                    f"{first[0]} was scored with {words} {ours} and {folder} with {theirs}: score them alike"
                )
    return runs


def _common_metrics(runs: Runs) -> list[str]:
    """Those that every run has, made in the same way."""
    first, *others = runs.values()
    names = []
    for name, backend in first["backends"].items():
        made = {results["backends"].get(name) for results in others}
        if made == {backend} and all(_whole(results, name) is not None for results in runs.values()):
            names.append(name)
        elif made - {None, backend}:
            log.warning("%s is left out: made by %s here, by %s there", name, backend, made - {backend})
    if not names:
        raise ValueError("the runs have no metric in common")
    return names


def _is_by_clip(runs: Runs, name: str) -> bool:
    return any(_figures(results, name) for results in runs.values())


def _figures(results: dict[str, Any], name: str) -> dict[str, float]:
    """Clip -> figure of the generated video."""
    clips = results["clips"].items()
    figures = {clip: systems.get(GENERATED, {}).get(name) for clip, systems in clips}
    return {clip: figure for clip, figure in figures.items() if figure is not None}


def _whole(results: dict[str, Any], name: str) -> Score | None:
    score = results["scores"].get(GENERATED, {}).get(name)
    if score is None or score["value"] is None:
        return None
    return Score(score["value"], score["scored"], score["given"])


def _value(results: dict[str, Any], name: str) -> float | None:
    score = _whole(results, name)
    return None if score is None else score.value


def _cells(row: Row, names: list[str]) -> dict[str, Any]:
    return {
        name: {
            "value": cell.value if math.isfinite(cell.value) else None,
            "scored": cell.scored,
            "interval": cell.interval,
        }
        for name, cell in zip(names, row.cells, strict=True)
        if isinstance(cell, Score)
    }
