"""Ranks of which one fails, or was never started."""

import os
import time
from pathlib import Path

import pytest
from training_runs import ROOT, in_a_process, trained

FAILING = """
import os, sys, time
sys.path.insert(0, {root!r})
import hydra
import aniportrait.training.stage1 as stage1

whole, calls = stage1.portrait_loss, []


def failing(*args):
    calls.append(0)
    if len(calls) == 2 and os.environ.get("LOCAL_RANK") == "1":
        open({pid!r} + ".part", "w").write(str(os.getpid()))
        os.rename({pid!r} + ".part", {pid!r})
        time.sleep(600)  # as in a collective
    if len(calls) == 2:
        while not os.path.exists({pid!r}):
            time.sleep(0.1)
        raise OSError("no space left on device")
    return whole(*args)


stage1.portrait_loss = failing
main = hydra.main
hydra.main = lambda config_path, **rest: main(config_path={root!r} + "/conf", **rest)
import train
train.main()
"""


@pytest.mark.slow
def test_an_error_of_the_first_rank_alone_ends_the_other_too(shards, tmp_path):
    pid, script = tmp_path / "pid", tmp_path / "failing.py"
    script.write_text(FAILING.format(root=str(ROOT), pid=str(pid)))
    steps = ("max_steps=8", "batch_size=1", "trainer.devices=2", "+trainer.strategy=ddp")
    run = in_a_process(shards, tmp_path / "run", *steps, script=script)
    errors = run.communicate(timeout=300)[1]
    assert run.returncode == 2, errors
    assert "error: no space left on device\n" in errors
    other = Path("/proc") / pid.read_text()
    for _ in range(100):
        if not other.exists():
            return
        time.sleep(0.1)
    os.kill(int(pid.read_text()), 9)
    raise AssertionError("the other rank waits for ever")


def test_ranks_that_slurm_did_not_start_are_missed(shards, tmp_path, monkeypatch):
    """An sbatch script of one task, without srun, in which Lightning would train on one device alone."""
    for name, value in {
        "NTASKS": "1",
        "JOB_NAME": "job",
        "JOB_ID": "1",
        "PROCID": "0",
        "LOCALID": "0",
    }.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setenv("SLURM_NODEID", "0")
    sentence = (
        r"^trainer\.devices \(2\) times trainer\.num_nodes \(1\) must be .*, which is 1: in a SLURM job"
    )
    with pytest.raises(ValueError, match=sentence):
        trained(shards, tmp_path, "trainer.devices=2", "+trainer.strategy=ddp")
