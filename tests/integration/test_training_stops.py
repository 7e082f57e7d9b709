"""Trainings that are asked to stop, or have gone wrong: what is written then can be trusted."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from training_runs import PLAIN, POISONED, ROOT, in_a_process, same, trained, validations

from aniportrait.training.callbacks.ema import CURRENT
from aniportrait.training.callbacks.loss_alarm import LossAlarmError
from aniportrait.training.callbacks.stop_on_signal import SIGNALS


def test_a_loss_that_is_no_number_ends_the_run_names_the_clips_and_leaves_the_last_checkpoint(
    shards, tmp_path, monkeypatch
):
    import aniportrait.training.stage1 as stage1

    whole = stage1.portrait_loss

    def poisoned(networks, scheduler, conditions, batch, settings, generators):
        loss, terms = whole(networks, scheduler, conditions, batch, settings, generators)
        poisoned.calls += 1
        return (loss * float("nan") if poisoned.calls == 4 else loss), terms

    poisoned.calls = 0
    monkeypatch.setattr(stage1, "portrait_loss", poisoned)
    steps = ("max_steps=8", "batch_size=1", "callbacks.checkpoint.every_n_train_steps=2")
    with pytest.raises(LossAlarmError, match=r"loss nan at step 4 on \S+: stopped"):
        trained(shards, tmp_path, *steps)
    kept = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert kept["global_step"] == 2
    assert all(weight.isfinite().all() for weight in kept[CURRENT].values())


def test_gradients_that_are_no_numbers_under_a_finite_loss_reach_no_checkpoint(shards, tmp_path, monkeypatch):
    import aniportrait.training.stage1 as stage1

    whole = stage1.portrait_loss

    def poisoned(*args):
        loss, terms = whole(*args)
        poisoned.calls += 1
        if poisoned.calls == 4:
            loss.register_hook(lambda gradient: gradient * float("nan"))
        return loss, terms

    poisoned.calls = 0
    monkeypatch.setattr(stage1, "portrait_loss", poisoned)
    steps = ("max_steps=8", "batch_size=1", "callbacks.checkpoint.every_n_train_steps=2")
    with pytest.raises(
        LossAlarmError, match=r"\d+ of the weights, \S+ the first, are not finite after step 4"
    ):
        trained(shards, tmp_path, *steps)
    kept = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert kept["global_step"] == 2
    assert all(weight.isfinite().all() for weight in kept["state_dict"].values())


LOADING = ("num_workers=2", "max_steps=100000", "batch_size=1", "trainer.log_every_n_steps=1")


def loading_processes(run, out):
    """What forks loading processes, and two of these, once the run has taken a step."""
    for _ in range(600):
        found = [int(folder.name) for folder in Path("/proc").glob("[0-9]*") if loads_for(run.pid, folder)]
        if len(found) == 3 and (out / "csv" / "metrics.csv").is_file():
            return found
        time.sleep(0.1)
    raise AssertionError(run.communicate()[1] if run.poll() is not None else f"loading processes: {found}")


def loads_for(leader, folder):
    try:
        return os.getsid(int(folder.name)) == leader and b"forkserver" in (folder / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(pids):
    for _ in range(200):
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
def test_a_signal_to_all_processes_of_a_rank_leaves_those_that_load_until_the_run_has_stopped(
    shards, tmp_path
):
    batches = ("trainer.accumulate_grad_batches=16", "validation.every=1600")  # more than are loaded ahead
    run = in_a_process(shards, tmp_path, *LOADING, *batches)
    loading = loading_processes(run, tmp_path)
    os.killpg(run.pid, signal.SIGTERM)
    errors = run.communicate(timeout=120)[1]
    assert run.returncode == 0, errors
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] > 0
    assert gone(loading)


@pytest.mark.slow
def test_a_signal_to_torchrun_reaches_its_ranks_which_write_a_checkpoint(shards, tmp_path):
    signals = "--signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1,SIGUSR2"
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "--shutdown-timeout=900"]
    ranks = ["trainer=ddp_multinode", "trainer.num_nodes=1", "trainer.devices=2", "trainer.accelerator=cpu"]
    settings = [*PLAIN, f"data.folder={shards}", f"out={tmp_path}", *ranks, *LOADING]
    run = subprocess.Popen(
        [sys.executable, *torchrun, signals, str(ROOT / "train.py"), *settings, "trainer.precision=32-true"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    for _ in range(1200):
        if (tmp_path / "csv" / "metrics.csv").is_file() or run.poll() is not None:
            break
        time.sleep(0.1)
    run.send_signal(signal.SIGUSR1)
    errors = run.communicate(timeout=120)[1]
    last = tmp_path / "checkpoints" / "last.ckpt"
    assert last.is_file(), errors
    assert torch.load(last, weights_only=True)["global_step"] > 0


@pytest.mark.slow
def test_loading_processes_end_with_a_run_that_is_killed(shards, tmp_path):
    run = in_a_process(shards, tmp_path, *LOADING)
    loading = loading_processes(run, tmp_path)
    run.kill()
    run.wait()
    assert gone(loading)


@pytest.mark.slow
def test_a_loss_that_is_no_number_on_one_rank_ends_both_before_either_writes(shards, tmp_path):
    """Between the last time they asked one another and the checkpoint."""
    script = tmp_path / "poisoned.py"
    script.write_text(POISONED.format(root=str(ROOT)))
    steps = ("max_steps=8", "batch_size=1", "callbacks.checkpoint.every_n_train_steps=2")
    ranks = in_a_process(
        shards, tmp_path / "run", *steps, "trainer.devices=2", "+trainer.strategy=ddp", script=script
    )
    errors = ranks.communicate(timeout=300)[1]
    assert ranks.returncode == 2, errors
    assert "loss nan at step 4 on" in errors
    assert "not finite after step 4" in errors
    assert torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 2


@pytest.mark.parametrize("number", SIGNALS)
def test_a_run_that_is_asked_to_stop_writes_a_checkpoint_and_goes_on_from_it_exactly(
    shards, tmp_path, number, monkeypatch
):
    """The signal comes in the middle of the third of six steps, and again, as torchrun and scancel send it."""
    import aniportrait.training.stage1 as stage1

    whole = stage1.portrait_loss
    steps = ("max_steps=6", "batch_size=1", "callbacks.checkpoint.every_n_train_steps=6")
    trained(shards, tmp_path / "whole", *steps)

    def signalled(*args):
        signalled.calls += 1
        if signalled.calls == 3:
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)
        return whole(*args)

    signalled.calls = 0
    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(stage1, "portrait_loss", signalled)
        trained(shards, tmp_path / "run", *steps)
    assert signal.getsignal(number) == before
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == 3
    assert not (tmp_path / "run" / "metrics.json").exists()
    trained(shards, tmp_path / "run", *steps, f"resume={tmp_path}/run")
    assert same(last, tmp_path / "whole" / "checkpoints" / "last.ckpt")


def test_a_stop_where_a_validation_is_due_comes_after_it(shards, tmp_path, monkeypatch):
    import aniportrait.training.stage1 as stage1

    whole = stage1.portrait_loss
    steps = (
        "max_steps=4",
        "batch_size=1",
        "validation.every=2",
        "callbacks.checkpoint.every_n_train_steps=4",
    )
    trained(shards, tmp_path / "whole", *steps)

    def signalled(*args):
        signalled.calls += 1
        if signalled.calls == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return whole(*args)

    signalled.calls = 0
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(stage1, "portrait_loss", signalled)
        trained(shards, run, *steps)
    last, best = (
        torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True) for name in ("last", "best")
    )
    assert (last["global_step"], best["global_step"]) == (2, 2)
    trained(shards, run, *steps, f"resume={run}")
    assert validations(run) == validations(tmp_path / "whole")
    assert same(run / "checkpoints" / "last.ckpt", tmp_path / "whole" / "checkpoints" / "last.ckpt")
