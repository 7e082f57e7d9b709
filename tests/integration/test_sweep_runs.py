"""Sweeps as typed: studies go on, what fails does not end them, and a run is done again alone to the bit."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import yaml
from agent_command import agent_command
from training_runs import PLAIN, ROOT, figures

from aniportrait.checkpoints.store import open_weights

MISSING = "it is not installed (make sweeps)"
SEARCH = ["-m", *PLAIN, "hparams_search=optuna", "validation.every=2"]
FAILS_FIRST = 4
"""Seed of a sampler whose first draw of two is the first, and whose second draw is the second."""

STUDY = Path("outputs/stage1_reference/study")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline", "WANDB_SILENT": "true"}


@pytest.fixture
def optuna():
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason=MISSING)


@contextmanager
def started(folder, shards, *words):
    """A sweep, which ends with the block."""
    command = [sys.executable, str(ROOT / "train.py"), *SEARCH, f"data.folder={shards}", *words]
    process = subprocess.Popen(
        command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def finished(folder, shards, *words):
    with started(folder, shards, *words) as process:
        said = process.communicate(timeout=580)[0]
        assert process.returncode == 0, said
        return said


def trials(folder):
    """(state, figure) of each, in order of their numbers."""
    with sqlite3.connect(folder / STUDY / "study.db") as database:
        return database.execute(
            "select state, value from trials left join trial_values using (trial_id) order by number"
        ).fetchall()


def learning_rates(folder):
    with sqlite3.connect(folder / STUDY / "study.db") as database:
        query = "select param_value from trial_params where param_name = 'learning_rate'"
        return [value for (value,) in database.execute(query)]


def runs(folder):
    return sorted((folder / STUDY).glob("*/[0-9]*"), key=lambda run: (run.parent.name, int(run.name)))


def heard(run):
    """Whether a run was told that its sweep is gone."""
    return "asked to stop after step" in (run / "train.log").read_text()


def wait_for(condition, seconds=400):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def same_weights(first, second):
    one, other = open_weights(first), open_weights(second)
    pairs = [(one.states[name], other.states[name]) for name in one.networks]  # each time, the file is read
    return one.networks == other.networks and all(
        a.keys() == b.keys() and all(torch.equal(value, b[key]) for key, value in a.items()) for a, b in pairs
    )


def test_what_fails_and_what_is_hopeless_does_not_end_the_sweep(optuna, shards, tmp_path):
    """Of two trials the first cannot be trained, and the second is worse than it may be."""
    words = (
        "learning_rate=choice(1e30,1e-4)",
        f"hydra.sweeper.sampler.seed={FAILS_FIRST}",
        "hydra.sweeper.n_trials=2",
    )
    said = finished(tmp_path, shards, *words, "callbacks.hopeless.worst=0.01")
    assert "error: loss nan at step 2 on " in said
    assert "must not be worse than 0.01 after step 2: given up" in said
    (failed, none), (complete, figure) = trials(tmp_path)
    assert (failed, none, complete) == ("FAIL", None, "COMPLETE")
    bad, good = runs(tmp_path)
    assert not (bad / "metrics.json").exists()
    assert figure == figures(good)["val/face_l1"]
    best = yaml.safe_load((good.parent / "optimization_results.yaml").read_text())
    assert best["best_value"] == figure
    assert best["best_params"]["learning_rate"] == 1e-4


@pytest.mark.slow
def test_the_same_command_goes_on_with_a_study_that_was_killed_and_a_run_of_it_is_done_again_alone(
    optuna, shards, tmp_path
):
    with started(tmp_path, shards, "hydra.sweeper.n_trials=9", "max_steps=20"):
        wait_for(lambda: len(runs(tmp_path)) == 2 and (runs(tmp_path)[1] / "checkpoints").is_dir())
    killed = runs(tmp_path)[1]
    wait_for(lambda: heard(killed) or (killed / "metrics.json").exists())
    finished(tmp_path, shards, "hydra.sweeper.n_trials=2")
    assert [state for state, _ in trials(tmp_path)] == ["COMPLETE", "RUNNING", "COMPLETE", "COMPLETE"]
    assert len(set(learning_rates(tmp_path))) == 4, "no trial is drawn twice"
    assert len(runs(tmp_path)) == 4
    last = runs(tmp_path)[-1]
    best = yaml.safe_load((last.parent / "optimization_results.yaml").read_text())
    assert best["best_value"] == min(figure for _, figure in trials(tmp_path) if figure is not None)

    again = tmp_path / "again (1)"
    command = [sys.executable, str(ROOT / "rerun.py"), str(last), str(again)]
    subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, check=True, timeout=400)
    assert same_weights(last, again)
    assert not same_weights(runs(tmp_path)[-2], again)
    assert figures(last) == figures(again)
    assert subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, check=False).returncode == 1, (
        "it exists now"
    )


@pytest.mark.slow
def test_trials_side_by_side_write_into_folders_and_wandb_runs_of_their_own(optuna, shards, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason=MISSING)
    side_by_side = ("hydra/launcher=joblib", "hydra.sweeper.n_jobs=2", "hydra.sweeper.n_trials=2")
    finished(tmp_path, shards, *side_by_side, "logger=wandb")
    first, second = runs(tmp_path)
    assert trials(tmp_path) == [("COMPLETE", figures(run)["val/face_l1"]) for run in (first, second)]
    logs = [[path.name for path in run.glob("wandb/offline-run-*")] for run in (first, second)]
    assert [len(names) for names in logs] == [1, 1]
    assert logs[0] != logs[1]
    assert not same_weights(first, second)


@pytest.mark.slow
def test_a_trial_of_several_processes_fails_alone(optuna, shards, tmp_path):
    """Lightning kills the process whose child fails, and starts children by the command line of that process."""
    words = (
        "learning_rate=choice(1e30,1e-4)",
        f"hydra.sweeper.sampler.seed={FAILS_FIRST}",
        "hydra.sweeper.n_trials=2",
    )
    finished(tmp_path, shards, *words, "trainer.devices=2", "+trainer.strategy=ddp")
    assert [state for state, _ in trials(tmp_path)] == ["FAIL", "COMPLETE"]


@pytest.mark.slow
def test_sigterm_ends_the_sweep_and_the_run_writes_a_checkpoint(optuna, shards, tmp_path):
    with started(tmp_path, shards, "hydra.sweeper.n_trials=9", "max_steps=10000") as process:
        wait_for(lambda: runs(tmp_path) and (runs(tmp_path)[0] / "checkpoints").is_dir())
        process.terminate()
        assert process.wait(timeout=60) == -signal.SIGTERM
    (only,) = runs(tmp_path)
    wait_for(lambda: heard(only))
    assert (only / "checkpoints" / "last.ckpt").is_file()


def test_the_command_of_wandbs_agent_trains(shards, tmp_path):
    chosen = {"learning_rate": 3.0e-5, "objective.mouth_weight": 4.0, "data.flip_chance": 0.5}
    _, _, program, *words = agent_command(chosen)
    small = [word for word in PLAIN if not word.startswith(("experiment=", "logger=", "max_steps="))]
    command = [sys.executable, str(ROOT / program), *words, *small, f"data.folder={shards}", "out=run"]
    ended = subprocess.run(
        [*command, "debug=fast_dev_run"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert ended.returncode == 0, ended.stderr
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (config["optimizer"]["lr"], config["module"]["mouth_weight"]) == (3.0e-5, 4.0)
    assert (config["datamodule"]["flip_chance"], config["callbacks"]["best"]["monitor"]) == (
        0.5,
        "val/face_l1",
    )
