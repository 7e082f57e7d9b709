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
        len(results), len(columns), figsize=(4.6 * len(columns), 2.9 * len(results)), squeeze=False
    )
    for row, (name, entry) in zip(axes, results.items(), strict=True):
        for axis, column in zip(row, columns, strict=True):
            bars(axis, entry["scores"][title], column)
            axis.set_title(f"{name}: {column}", fontsize=9)
    figure.tight_layout()
    figure.savefig(Path(folder) / "figure.png", dpi=90)


def bars(axis: Any, rows: dict[str, dict[str, Any]], column: str) -> None:
    """One bar a system, the seeds as dots."""
    scored = {
        name: cells[column]
        for name, cells in rows.items()
        if isinstance(cells[column], dict) and cells[column]["mean"] is not None
    }
    names = list(scored)[::-1]
    axis.barh(
        names, [scored[name]["mean"] for name in names], color=["#9db4c8"] * (len(names) - 1) + ["#2f6690"]
    )
    for name in names:
        axis.plot(scored[name]["runs"], [name] * len(scored[name]["runs"]), "k.", markersize=4)
    axis.tick_params(labelsize=7)


if __name__ == "__main__":
    main(*sys.argv[1:])
