"""Training as a team would run it: split over ranks or micro-batches, stopped, gone wrong."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from entries import TINY, composed

from aniportrait.checkpoints.store import open_weights
from aniportrait.cli.train import build_module, train
from aniportrait.models.audio_encoder import LogMelEncoder
from aniportrait.training.callbacks.ema import CURRENT
from aniportrait.training.callbacks.loss_alarm import LossAlarmError
from aniportrait.training.callbacks.noise_alarm import EqualNoiseError
from aniportrait.training.callbacks.stop_on_signal import SIGNALS

ROOT = Path(__file__).parents[2]
PLAIN = [
    *(
        "experiment=stage1_reference",
        *TINY,
        "data=shards",
        "max_steps=3",
        "warmup_steps=0",
        "validation.sampling_steps=1",
    ),
    *(
        "frames_per_portrait=1",
        "validation.every=100",
        "objective.noise_offset=0.05",
        "sizes.unet.norm_num_groups=8",
    ),
    *("sizes.unet.block_out_channels=[16,32]", "sizes.pose_guider.width=16"),
]
DESCENT = [  # whose steps are the gradients, and no average that would hide them
    *(
        "optimizer._target_=torch.optim.SGD",
        "~optimizer.betas",
        "~optimizer.eps",
        "learning_rate=0.1",
        "ema_decay=0.0",
    ),
]
POISONED = """
import os, sys
sys.path.insert(0, {root!r})
import hydra
import aniportrait.training.stage1 as stage1

whole, calls = stage1.portrait_loss, []


def poisoned(*args):
    loss, terms = whole(*args)
    calls.append(0)
    return (loss * float("nan") if len(calls) == 4 and os.environ.get("LOCAL_RANK") == "1" else loss), terms


stage1.portrait_loss = poisoned
main = hydra.main
hydra.main = lambda config_path, **rest: main(config_path={root!r} + "/conf", **rest)
import train  # the process for the other rank starts this file as well
train.main()
"""


def trained(shards, out, *overrides, plain=PLAIN):
    out.mkdir(parents=True, exist_ok=True)
    with composed("train", *plain, f"data.folder={shards}", f"out={out}", *overrides, out=out) as config:
        train(config)
    return out


def in_a_process(shards, out, *overrides, script=ROOT / "train.py"):
    command = [
        sys.executable,
        str(script),
        *PLAIN,
        f"data.folder={shards}",
        f"out={out}",
        *overrides,
    ]
    return subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def figures(run):
    """The validation figures of a run's end."""
    figures = json.loads((run / "metrics.json").read_text())
    return {name: figures[name] for name in ("val/loss", "val/face_l1")}


def validations(run):
    """Step and figure of every validation in a run's log, which a resumed run begins anew."""
    with open(run / "csv" / "metrics.csv") as file:
        return [(row["step"], row["val/loss"]) for row in csv.DictReader(file) if row.get("val/loss")]


def farthest(first, second):
    """The largest difference of two runs' weights, relative to each tensor's largest value."""
    ours, theirs = open_weights(first), open_weights(second)
    return max(
        float((weight - other[key]).abs().max() / weight.abs().max().clamp_min(1e-3))
        for name in ours.networks
        for other in (theirs.states[name],)  # read once
        for key, weight in ours.states[name].items()
    )


def same(first, second):
    """Whether two checkpoints hold the same weights, averages and optimizer state, to the bit."""
    one, other = (torch.load(path, weights_only=True) for path in (first, second))
    pairs = [(one[part], other[part]) for part in ("state_dict", CURRENT)]
    pairs += [
        (one["optimizer_states"][0]["state"][k], other["optimizer_states"][0]["state"][k])
        for k in one["optimizer_states"][0]["state"]
    ]
    return one["global_step"] == other["global_step"] and all(
        a.keys() == b.keys() and all(torch.equal(torch.as_tensor(a[k]), torch.as_tensor(b[k])) for k in a)
        for a, b in pairs
    )


def test_two_accumulated_batches_are_one_large_batch(shards, tmp_path):
    halves = trained(
        shards, tmp_path / "halves", *DESCENT, "batch_size=2", "trainer.accumulate_grad_batches=2"
    )
    whole = trained(shards, tmp_path / "whole", *DESCENT, "batch_size=4")
    other = trained(shards, tmp_path / "other", *DESCENT, "batch_size=4", "seed=43")
    assert farthest(halves, whole) < 1e-5
    assert farthest(other, whole) > 1e-3


def test_roll_outs_do_not_depend_on_how_the_batch_is_divided(shards, tmp_path, monkeypatch):
    """All of them drawn, over windows that are valid throughout; dropout and augmentation are each process's own."""
    monkeypatch.setattr(LogMelEncoder, "_augmented", lambda self, mel: mel)
    still = ["+audio2pose.dropout=0", "+audio2pose.teacher_noise=0", "+audio_encoder.dropout=0"]
    chosen = [
        "experiment=audio2pose",
        *TINY,
        "data=shards",
        "max_steps=2",
        "warmup_steps=0",
        *DESCENT,
        *still,
    ]
    chosen += ["validation.every=100", "learning_rate=0.01", "datamodule.window_frames=16"]

    def pose_run(name, *overrides):
        return trained(shards, tmp_path / name, *chosen, *overrides, plain=())

    halves = pose_run("halves", "batch_size=2", "trainer.accumulate_grad_batches=2")
    whole = pose_run("whole", "batch_size=4")
    assert farthest(halves, whole) < 1e-5
    assert farthest(pose_run("other", "batch_size=4", "module.seed=43"), whole) > 1e-4
    with pytest.raises(
        ValueError, match=r"^rollout\.frames \(16\) must be smaller than window_frames \(16\)$"
    ):
        pose_run("short", "batch_size=2", "+pose_rollout.frames=16")


@pytest.mark.slow
@pytest.mark.parametrize("dropout", [0.5, 1.0])
def test_two_ranks_are_one_process_with_the_doubled_batch_and_none_looks_for_unused_weights(
    shards, tmp_path, dropout
):
    """With dropout 1 every portrait of every batch is hidden: all weights still take part."""
    chosen = [*DESCENT, f"objective.condition_dropout={dropout}"]
    ranks = in_a_process(
        shards, tmp_path / "ranks", *chosen, "batch_size=1", "trainer.devices=2", "+trainer.strategy=ddp"
    )
    errors = ranks.communicate(timeout=300)[1]
    assert ranks.returncode == 0, errors
    whole = trained(shards, tmp_path / "whole", *chosen, "batch_size=2")
    assert farthest(tmp_path / "ranks", whole) < 1e-5
    assert figures(tmp_path / "ranks") == pytest.approx(figures(whole), rel=1e-4)  # one clip, on one rank


def test_the_same_noise_for_two_samples_is_an_error(shards, tmp_path, monkeypatch):
    monkeypatch.setattr("aniportrait.training.generators.hash_of", lambda state: 7)
    with pytest.raises(EqualNoiseError, match="2 samples of 1 ranks have 1 different"):
        trained(shards, tmp_path, "batch_size=2")


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
    stopped = validations(run)
    trained(shards, run, *steps, f"resume={run}")
    assert stopped + validations(run) == validations(tmp_path / "whole")
    assert same(run / "checkpoints" / "last.ckpt", tmp_path / "whole" / "checkpoints" / "last.ckpt")


def test_an_accumulating_run_goes_on_from_a_checkpoint_exactly(shards, tmp_path):
    steps = ("max_steps=3", "batch_size=1", "trainer.accumulate_grad_batches=2", "ema_decay=0.75")
    kept = ("callbacks.checkpoint.every_n_train_steps=1", "callbacks.checkpoint.save_top_k=-1")
    whole = trained(shards, tmp_path / "whole", *steps, *kept) / "checkpoints"
    rest = trained(shards, tmp_path / "rest", *steps, *kept, f"resume={whole}/step_000001.ckpt")
    assert same(rest / "checkpoints" / "last.ckpt", whole / "last.ckpt")
    assert not (rest / "checkpoints" / "step_000001.ckpt").exists(), "in the middle of an accumulated step"


@pytest.mark.parametrize(("first", "then"), [("", "callbacks.ema=null"), ("callbacks.ema=null", "")])
def test_a_run_goes_on_with_an_average_if_it_had_one_and_else_without(shards, tmp_path, first, then):
    steps = ("batch_size=1", "callbacks.checkpoint.every_n_train_steps=1")
    trained(shards, tmp_path / "run", *steps, "max_steps=1", *first.split())
    with pytest.raises(ValueError, match=r"callbacks\.ema"):
        trained(shards, tmp_path / "rest", *steps, "max_steps=2", f"resume={tmp_path}/run", *then.split())


def test_only_trained_weights_are_averaged_and_the_average_follows_its_formula(shards, tmp_path):
    steps = ("max_steps=1", "batch_size=1", "callbacks.checkpoint.every_n_train_steps=1", "ema_decay=0.75")
    first = tmp_path / "first" / "checkpoints" / "last.ckpt"
    trained(shards, tmp_path / "first", *steps)
    trained(shards, tmp_path / "second", *steps, "max_steps=2", f"resume={first}")
    one, two = (
        torch.load(tmp_path / run / "checkpoints" / "last.ckpt", weights_only=True)
        for run in ("first", "second")
    )
    with composed("train", *PLAIN) as config:
        weights = build_module(config, None).named_parameters()
    learns = {name for name, weight in weights if weight.requires_grad}
    assert set(one[CURRENT]) == set(two[CURRENT]) == learns
    frozen = set(one["state_dict"]) - learns
    assert frozen
    assert all(torch.equal(one["state_dict"][name], two["state_dict"][name]) for name in frozen)
    for name, weight in two[CURRENT].items():
        expected = 0.75 * one["state_dict"][name] + 0.25 * weight
        assert torch.allclose(two["state_dict"][name], expected, atol=1e-6), name
