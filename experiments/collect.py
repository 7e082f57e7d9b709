"""Results of evaluations -> an experiment's results.json: one entry per data set, the mean over runs beside each run.

    python experiments/collect.py experiments/audio2mesh/results.json real=outputs/eval_1,outputs/eval_2 synthetic=...

An evaluation is a folder that evaluate.py wrote; its `weights` must be a run's folder, which knows its seed.
"""

import json
import math
import sys
from pathlib import Path
from statistics import mean
from typing import Any

import yaml


def main(target: str, *entries: str) -> None:
    results = {}
    for entry in entries:
        name, folders = entry.split("=", 1)
        runs = [one_run(Path(folder)) for folder in folders.split(",")]
        results[name] = {
            "data": runs[0]["data"],
            "split": runs[0]["split"],
            "training seeds": [run["training seed"] for run in runs],
            "sampling seeds": [run["seed"] for run in runs],
            "training commands": [run["training command"] for run in runs],
            "rivals' training commands": runs[0]["rivals' training commands"],
            "evaluation commands": [run["command"] for run in runs],
            "scores": {title: merged([run["scores"][title] for run in runs]) for title in runs[0]["scores"]},
        }
    Path(target).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def one_run(folder: Path) -> dict[str, Any]:
    """What an evaluation says, and how the weights it scored were trained."""
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    run = Path(results["weights"])
    return results | {
        "training seed": yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))["seed"],
        "training command": training_command(run),
        "rivals' training commands": [training_command(Path(rival)) for rival in results["rivals"]],
    }


def training_command(run: Path) -> str:
    """The command that trained a run."""
    overrides = yaml.safe_load((run / ".hydra" / "overrides.yaml").read_text(encoding="utf-8"))
    return " ".join(("python train.py", *overrides))


def merged(tables: list[dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Row -> column -> mean over runs, each run's value, clips, and the first run's interval."""
    return {
        row: {column: figure([table[row][column] for table in tables]) for column in columns}
        for row, columns in tables[0].items()
    }


def figure(cells: list[Any]) -> Any:
    if not isinstance(cells[0], dict):
        return cells[0] if len({str(cell) for cell in cells}) == 1 else cells
    values = [cell["value"] for cell in cells]
    known = [value for value in values if value is not None]
    merged = {
        "mean": round(mean(known), 4) if known else None,
        "runs": [None if value is None else round(value, 4) for value in values],
        "n": cells[0]["scored"],
        "interval of the first run": cells[0]["interval"],
    }
    if "sampling seeds" in cells[0]:  # of the first run, too
        spread = round(cells[0]["std over sampling seeds"], 5)
        merged |= {
            "sampling seeds": [None if math.isnan(v) else round(v, 4) for v in cells[0]["sampling seeds"]],
            "std over sampling seeds": None if math.isnan(spread) else spread,
        }
    return merged


if __name__ == "__main__":
    main(*sys.argv[1:])
