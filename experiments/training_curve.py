"""A run's log -> the training curve an experiment keeps, and the table that says what to expect at which step.

    python experiments/training_curve.py outputs/experiments/stage1 experiments/stage1_reference/curve.json
    python experiments/training_curve.py outputs/experiments/stage1 experiments/stage1_reference/curve.json --compare

The second command writes nothing: it prints the table with the run's own figures beside those that were kept. Minutes
are of training alone, validations and pauses left out.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from aniportrait.evaluation.curves import read_curves

TRAIN_LOSS = "loss/total"
SMOOTHED = 20
"""Logged losses before a step that its training loss is the mean of."""
POINTS = 200
"""Of the training loss that are kept, at most."""


def main(run: str, target: str, *options: str) -> None:
    curve = training_curve(Path(run))
    if "--compare" in options:
        kept = json.loads(Path(target).read_text(encoding="utf-8"))
        print(table(kept["rows"], curve["rows"]))
        return
    Path(target).write_text(json.dumps(curve, indent=1) + "\n", encoding="utf-8")
    print(table(curve["rows"]))


def training_curve(run: Path) -> dict[str, Any]:
    """`rows`: at every validation its figures, the minutes so far and the smoothed training loss; `train`: the
    smoothed training loss all along, as [step, minutes, loss]."""
    curves = read_curves(run / "csv" / "metrics.csv")
    steps, losses = (np.array(values) for values in curves[TRAIN_LOSS])
    figures = sorted(name for name in curves if name.startswith("val/"))
    minutes = minutes_at(curves)
    rows: dict[int, dict[str, float]] = {}
    for name in figures:
        for step, value in zip(*curves[name], strict=True):
            done = min(step + 1, last_step(run, curves))  # a log counts steps from 0
            row = rows.setdefault(done, {"step": done, "minutes": round(float(minutes(done)), 1)})
            row["train loss"] = round(float(smoothed(steps, losses, done)), 4)
            row[name] = round(float(value), 4)
    kept = (steps + 1)[:: max(1, len(steps) // POINTS)]
    train = [[int(s), round(float(minutes(s)), 2), round(float(smoothed(steps, losses, s)), 4)] for s in kept]
    return {"rows": [rows[step] for step in sorted(rows)], "train": train}


def last_step(run: Path, curves: dict[str, tuple[list[int], list[float]]]) -> int:
    """Steps of a finished run, which validates once more when all are done; else of the log."""
    file = run / "metrics.json"
    if file.is_file():
        return int(json.loads(file.read_text(encoding="utf-8"))["steps"])
    return 1 + max(step for steps, _ in curves.values() for step in steps)


def minutes_at(curves: dict[str, tuple[list[int], list[float]]]) -> Any:
    """Steps done -> minutes of training, from the step times that were logged."""
    steps, seconds = (np.array(values, float) for values in curves["throughput/step_seconds"])
    order = np.argsort(steps)
    ends, per_step = steps[order] + 1, seconds[order]
    spent = np.cumsum(np.diff(ends, prepend=0) * per_step) / 60
    return lambda done: np.interp(done, np.r_[0, ends], np.r_[0, spent])


def smoothed(steps: np.ndarray, losses: np.ndarray, done: int) -> float:
    """Mean of the last logged losses when `done` steps are done."""
    before = losses[steps < done]
    return float(np.mean(before[-SMOOTHED:])) if len(before) else float("nan")


def table(rows: list[dict[str, float]], own: list[dict[str, float]] | None = None) -> str:
    """Markdown; with `own`, each figure beside that of the run's validation nearest to the step."""
    names = [name for name in rows[-1] if name not in ("step", "minutes")]
    lines = ["| " + " | ".join(("step", "minutes", *names)) + " |", "|---" * (len(names) + 2) + "|"]
    for row in rows:
        cells = [f"{row['step']:.0f}", f"{row['minutes']:.1f}"]
        if own is None:
            cells += [number(row.get(name)) for name in names]
        else:
            near = min(own, key=lambda other: abs(other["step"] - row["step"]))
            same = abs(near["step"] - row["step"]) <= 0.1 * row["step"]
            cells += [
                f"{number(row.get(name))} / {number(near.get(name) if same else None)}" for name in names
            ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


if __name__ == "__main__":
    main(*sys.argv[1:])
