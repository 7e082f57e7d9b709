"""What an experiment keeps of its runs: curves, tables, figures; and that its make target goes on where it stopped."""

import importlib.util
import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "experiments" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_of(folder, steps=40, loss=1.0, finished=True):
    """A log of every tenth step: 3 s a step up to 20, then 6 s; the loss is `loss` times the steps done."""
    rows = ["epoch,loss/total,step,throughput/step_seconds,val/loss,val/face_l1"]
    for done in range(10, steps + 1, 10):
        rows.append(f"0,{loss * done},{done - 1},{3 if done <= 20 else 6},,")
        if done % 20 == 0:
            rows.append(f"0,,{done - 1},,{2 / done},{1 / done}")
    if finished:
        rows.append(f"0,,{steps},,{2 / steps},{1 / steps}")
        (folder / "metrics.json").parent.mkdir(parents=True, exist_ok=True)
        (folder / "metrics.json").write_text(json.dumps({"steps": steps}))
    (folder / "csv").mkdir(parents=True)
    (folder / "csv" / "metrics.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def test_a_curve_says_steps_minutes_and_figures_of_every_validation(tmp_path):
    curve = script("training_curve").training_curve(run_of(tmp_path / "run"))
    assert [(row["step"], row["minutes"]) for row in curve["rows"]] == [(20, 1.0), (40, 3.0)]
    assert curve["rows"][1] == {
        "step": 40,
        "minutes": 3.0,
        "train loss": 25.0,  # the mean of all four, as fewer are logged than smoothed over
        "val/face_l1": 0.025,
        "val/loss": 0.05,
    }
    assert curve["train"] == [[10, 0.5, 10.0], [20, 1.0, 15.0], [30, 2.0, 20.0], [40, 3.0, 25.0]]


def test_a_run_that_goes_on_is_compared_at_the_steps_it_has_reached(tmp_path, capsys):
    module = script("training_curve")
    target = tmp_path / "curve.json"
    module.main(str(run_of(tmp_path / "kept")), str(target))
    kept = target.read_text()
    capsys.readouterr()
    module.main(str(run_of(tmp_path / "own", 20, 2.0, finished=False)), str(target), "--compare")
    *_, at_20, at_40 = capsys.readouterr().out.strip().splitlines()
    assert at_20.startswith("| 20 | 1.0 | 15 / 30 |")
    assert at_40.startswith("| 40 | 3.0 | 25 /  |"), "it has no such step"
    assert target.read_text() == kept


CELL = {"value": 2.0, "scored": 7, "given": 7, "interval": [1.0, 3.0]}
SEEDED = CELL | {"sampling seeds": [1.9, 2.1], "std over sampling seeds": 0.14142}


def test_results_keep_the_spread_over_sampling_seeds():
    figure = script("collect").figure
    assert figure([SEEDED])["sampling seeds"] == [1.9, 2.1]
    assert figure([SEEDED])["std over sampling seeds"] == pytest.approx(0.14142)
    assert "sampling seeds" not in figure([CELL])
    assert figure([0.5]) == 0.5
    assert figure(["2 of 130"]) == "2 of 130"


def test_bars_are_as_long_as_figures_scored_or_computed_and_carry_the_spread():
    from matplotlib.figure import Figure

    axis = Figure().add_subplot()
    rows = {
        "ours": {"x": script("collect").figure([SEEDED])},
        "ratio": {"x": 0.5},
        "words": {"x": "2 of 130"},
    }
    script("draw").bars(axis, rows, "x")
    assert [bar.get_width() for bar in axis.patches] == [0.0, 0.5, 2.0]
    (errors,) = axis.containers[0].lines[2]
    assert [line[1, 0] - line[0, 0] for line in errors.get_segments()] == pytest.approx([0, 0, 0.28284])


def test_a_figure_is_drawn_from_what_is_committed_alone(tmp_path):
    folder = tmp_path / "stage1_reference"
    script_of_curve = script("training_curve")
    folder.mkdir()
    script_of_curve.main(str(run_of(tmp_path / "run")), str(folder / "curve.json"))
    scores = {"stage 1": {"ours": {"face L1": script("collect").figure([SEEDED])}}}
    (folder / "results.json").write_text(json.dumps({"train": {"scores": scores}, "val": {"scores": scores}}))
    script("draw").main(str(folder), "stage 1: face L1")
    with_curve = (folder / "figure.png").stat().st_size
    (folder / "curve.json").unlink()
    script("draw").main(str(folder), "stage 1: face L1")
    assert with_curve > (folder / "figure.png").stat().st_size > 1000


PYTHON = """#!/bin/sh
echo "$@" >> "$CALLS"
test "$1" = train.py && test -z "$BROKEN" && touch {folder}/stage1/metrics.json
for word; do
    case "$1 $word" in "evaluate.py out="*) mkdir -p "${{word#out=}}"; touch "${{word#out=}}/results.json";; esac
done
exit 0
"""


def calls_of_make(tmp_path, broken=""):
    """What `make experiment-stage1` runs, with a Python that only says what it was asked."""
    python, calls, folder = tmp_path / "venv/bin/python", tmp_path / "calls", tmp_path / "experiments"
    python.parent.mkdir(parents=True, exist_ok=True)
    for file in (".created", ".installed"):
        (tmp_path / "venv" / file).touch()
    python.write_text(PYTHON.format(folder=folder))
    python.chmod(0o755)
    calls.write_text("")
    latents = folder / "shards" / "latents"
    latents.mkdir(parents=True, exist_ok=True)
    (folder / "stage1" / "checkpoints").mkdir(parents=True, exist_ok=True)
    for file in (latents / "index.json", folder / "shards" / "index.json"):
        file.touch()
    finished = subprocess.run(
        ["make", "experiment-stage1", f"VENV={tmp_path / 'venv'}", f"EXPERIMENT={folder}"],
        cwd=ROOT,
        env=os.environ | {"CALLS": str(calls), "BROKEN": broken},
        capture_output=True,
        text=True,
    )
    return finished, calls.read_text().splitlines()


def test_make_trains_once_goes_on_from_a_checkpoint_and_evaluates_what_is_new(tmp_path):
    finished, calls = calls_of_make(tmp_path, broken="yes")
    assert finished.returncode != 0
    assert "not trained to its end" in finished.stdout
    assert [call.split()[0] for call in calls] == ["train.py"]
    assert "resume" not in calls[0]

    checkpoint = tmp_path / "experiments" / "stage1" / "checkpoints" / "last.ckpt"
    checkpoint.touch()
    finished, calls = calls_of_make(tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert f"resume={checkpoint.parents[1]}" in calls[0]
    evaluated = [call for call in calls if call.startswith("evaluate.py")]
    assert [f"split={split}" in call for split, call in zip(("val", "train"), evaluated, strict=True)] == [
        True
    ] * 2

    finished, calls = calls_of_make(tmp_path)
    assert {call.split()[0].removeprefix("experiments/") for call in calls} == {
        "training_curve.py",
        "collect.py",
        "draw.py",
    }
