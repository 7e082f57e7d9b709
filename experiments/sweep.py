"""A finished sweep -> its trials, best first, as YAML and as a table for a README.

    python experiments/sweep.py outputs/sweep experiments/audio2mesh/sweep.yaml val/mouth_opening_correlation \
        val/lip_vertex_error val/mouth_opening_spread

The first figure is the one that the sweep maximised. Trials without figures are left out.
"""

import json
import sys
from pathlib import Path

import yaml


def main(folder: str, target: str, *figures: str) -> None:
    trials = sorted(
        (trial(path.parent, figures) for path in Path(folder).glob("*/metrics.json")),
        key=lambda item: -item["figures"][figures[0]],
    )
    names = {key for item in trials for key in item["settings"]}
    swept = sorted(name for name in names if len({str(item["settings"].get(name)) for item in trials}) > 1)
    for item in trials:
        item["settings"] = {name: item["settings"].get(name) for name in swept}
    Path(target).write_text(yaml.safe_dump(trials, sort_keys=False), encoding="utf-8")
    print("| " + " | ".join((*swept, *figures)) + " |")
    print("|---" * (len(swept) + len(figures)) + "|")
    for item in trials:
        cells = [*(item["settings"][name] for name in swept), *(f"{item['figures'][f]:.3f}" for f in figures)]
        print("| " + " | ".join(map(str, cells)) + " |")


def trial(folder: Path, figures: tuple[str, ...]) -> dict:
    overrides = yaml.safe_load((folder / ".hydra" / "overrides.yaml").read_text(encoding="utf-8"))
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return {
        "trial": int(folder.name),
        "settings": dict(override.lstrip("+").split("=", 1) for override in overrides),
        "figures": {name: round(float(metrics[name]), 4) for name in figures},
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
