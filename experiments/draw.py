"""An experiment's results.json -> its figure: every system's score on every data set, with each training seed.

    python experiments/draw.py experiments/audio2mesh "lip vertex error" "mouth opening correlation"
    python experiments/draw.py experiments/stage2_motion "stage 2, flicker: change, mouth" "stage 2: SSIM"

A column of a table that is not called as the folder is written "table: column". A curve.json in the folder
(training_curve.py) is drawn above. Bars carry the standard deviation over sampling seeds, where there are several.
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ROW_HEIGHT = 2.6


def main(folder: str, *columns: str) -> None:
    results = json.loads((Path(folder) / "results.json").read_text(encoding="utf-8"))
    file = Path(folder) / "curve.json"
    curve = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
    heights = [*([1.1] if curve else []), len(results)]
    figure = plt.figure(figsize=(2 + 3.2 * len(columns), ROW_HEIGHT * sum(heights)), layout="constrained")
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    if curve:
        draw_curve(parts[0], curve)
    axes = parts[-1].subplots(len(results), len(columns), squeeze=False, sharey="row")
    for row, (name, entry) in zip(axes, results.items(), strict=True):
        for axis, column in zip(row, columns, strict=True):
            title, _, own = column.rpartition(": ")
            bars(axis, entry["scores"][title or Path(folder).name], own)
            axis.set_title(f"{name}: {own}", fontsize=9)
    figure.savefig(Path(folder) / "figure.png", dpi=90, bbox_inches="tight")


def bars(axis: Any, rows: dict[str, dict[str, Any]], column: str) -> None:
    """One bar a system, each different run a dot; nothing where a system has no score."""
    names = list(rows)[::-1]
    cells = [rows[name][column] for name in names]
    means = [cell.get("mean") if isinstance(cell, dict) else cell for cell in cells]
    spreads = [
        cell.get("std over sampling seeds") or 0.0 if isinstance(cell, dict) else 0.0 for cell in cells
    ]
    axis.barh(
        range(len(names)),
        [mean if isinstance(mean, int | float) else 0.0 for mean in means],
        xerr=spreads if any(spreads) else None,
        color=["#9db4c8"] * (len(names) - 1) + ["#2f6690"],
    )
    for place, cell in enumerate(cells):
        runs = sorted(set(cell["runs"]) - {None}) if isinstance(cell, dict) else []
        axis.plot(runs, [place] * len(runs), "k.", markersize=4)
    axis.set_yticks(range(len(names)), names)
    axis.tick_params(labelsize=7)


def draw_curve(part: Any, curve: dict[str, Any]) -> None:
    """Loss (training smoothed, validation) and what is sampled at validations, against steps and minutes."""
    sampled = sorted(
        {name for row in curve["rows"] for name in row if name.startswith("val/")} - {"val/loss"}
    )
    panels = [["train loss", "val/loss"], *([name] for name in ["val/face_l1"] if name in sampled)]
    for axis, names in zip(part.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for name in names:
            points = [(row["step"], row[name]) for row in curve["rows"] if name in row]
            if name == "train loss":
                points = [(step, loss) for step, _, loss in curve["train"]]
            axis.plot(
                *zip(*points, strict=True), label=name, linewidth=1.3, marker="" if len(points) > 20 else "."
            )
        axis.set_xlabel("step", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.legend(fontsize=8)
        steps, minutes = zip(*((step, spent) for step, spent, _ in curve["train"]), strict=True)
        above = axis.twiny()
        above.set_xlim(axis.get_xlim())
        marks = [steps[len(steps) * share // 4] for share in range(4)] + [steps[-1]]
        above.set_xticks(marks, [f"{minutes[steps.index(mark)]:.0f}" for mark in marks])
        above.set_xlabel("minutes", fontsize=8)
        above.tick_params(labelsize=7)


if __name__ == "__main__":
    main(*sys.argv[1:])
