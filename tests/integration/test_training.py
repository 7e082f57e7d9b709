"""Training as a team would run it: split over ranks or micro-batches, gone on with."""

import os
import subprocess
import sys

import pytest
import torch
from entries import TINY, composed
from training_runs import DESCENT, PLAIN, ROOT, farthest, figures, in_a_process, same, trained

from aniportrait.cli.train import build_module
from aniportrait.models.audio_encoder import LogMelEncoder
from aniportrait.training.callbacks.ema import CURRENT
from aniportrait.training.callbacks.noise_alarm import EqualNoiseError


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
    preset = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.devices=2"]
    ranks = in_a_process(shards, tmp_path / "ranks", *chosen, "batch_size=1", *preset)
    errors = ranks.communicate(timeout=300)[1]
    assert ranks.returncode == 0, errors
    whole = trained(shards, tmp_path / "whole", *chosen, "batch_size=2")
    assert farthest(tmp_path / "ranks", whole) < 1e-5
    assert figures(tmp_path / "ranks") == pytest.approx(figures(whole), rel=1e-4)  # one clip, on one rank


@pytest.mark.slow
def test_ranks_that_torchrun_starts_are_one_process_with_the_doubled_batch(shards, tmp_path):
    """The command of several machines, on one: LightningEnvironment starts none of them."""
    one_machine = ["trainer=ddp_multinode", "trainer.num_nodes=1", "trainer.devices=2"]
    on_cpu = ["trainer.accelerator=cpu", "trainer.precision=32-true"]
    chosen = [*PLAIN, *DESCENT, f"data.folder={shards}"]
    settings = [*chosen, *one_machine, *on_cpu, "batch_size=1", f"out={tmp_path}/ranks"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [*torchrun, str(ROOT / "train.py"), *settings],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    whole = trained(shards, tmp_path / "whole", *DESCENT, "batch_size=2")
    assert farthest(tmp_path / "ranks", whole) < 1e-5


def test_the_same_noise_for_two_samples_is_an_error(shards, tmp_path, monkeypatch):
    monkeypatch.setattr("aniportrait.training.generators.hash_of", lambda state: 7)
    with pytest.raises(EqualNoiseError, match="2 samples of 1 ranks have 1 different"):
        trained(shards, tmp_path, "batch_size=2")


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
        expected = 0.25 * one["state_dict"][name] + 0.75 * weight  # (1 + 2) / (10 + 2) is less than 0.75
        assert torch.allclose(two["state_dict"][name], expected, atol=1e-6), name


def test_a_run_in_bfloat16_keeps_weights_and_optimizer_state_in_float32_and_differs_by_rounding(
    shards, tmp_path
):
    steps = ("max_steps=2", "batch_size=2", "callbacks.checkpoint.every_n_train_steps=2")
    half, whole = (
        trained(shards, tmp_path / precision, *steps, f"trainer.precision={precision}")
        for precision in ("bf16-mixed", "32-true")
    )
    kept = torch.load(half / "checkpoints" / "last.ckpt", weights_only=True)
    state = kept["optimizer_states"][0]["state"]
    assert {weight.dtype for weight in kept["state_dict"].values()} == {torch.float32}
    assert {value["exp_avg"].dtype for value in state.values()} == {torch.float32}
    assert figures(half) == pytest.approx(figures(whole), rel=0.05)
    assert figures(half) != figures(whole)
