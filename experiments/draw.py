"""An experiment's results.json -> its figure: every system's score on every data set, with each training seed.

python experiments/draw.py experiments/audio2mesh "lip vertex error" "mouth opening correlation"
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def main(folder: str, *columns: str) -> None:
    results = json.loads((Path(folder) / "results.json").read_text(encoding="utf-8"))
    title = Path(folder).name
    figure, axes = plt.subplots(
        len(results),
        len(columns),
        figsize=(2 + 3.2 * len(columns), 2.6 * len(results)),
        squeeze=False,
        sharey="row",
    )
    for row, (name, entry) in zip(axes, results.items(), strict=True):
        for axis, column in zip(row, columns, strict=True):
            bars(axis, entry["scores"][title], column)
            axis.set_title(f"{name}: {column}", fontsize=9)
    figure.tight_layout()
    figure.savefig(Path(folder) / "figure.png", dpi=90, bbox_inches="tight")


def bars(axis: Any, rows: dict[str, dict[str, Any]], column: str) -> None:
    """One bar a system, each different run a dot; nothing where a system has no score."""
    names = list(rows)[::-1]
    cells = [rows[name][column] for name in names]
    means = [(cell["mean"] or 0.0) if isinstance(cell, dict) else 0.0 for cell in cells]
    axis.barh(range(len(names)), means, color=["#9db4c8"] * (len(names) - 1) + ["#2f6690"])
    for place, cell in enumerate(cells):
        runs = sorted(set(cell["runs"]) - {None}) if isinstance(cell, dict) else []
        axis.plot(runs, [place] * len(runs), "k.", markersize=4)
    axis.set_yticks(range(len(names)), names)
    axis.tick_params(labelsize=7)


if __name__ == "__main__":
    main(*sys.argv[1:])
