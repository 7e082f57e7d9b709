"""Killed at random moments and resumed, every training ends as if nothing had been (make prove-resume)."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from entries import TINY

from aniportrait.data.synthetic import SyntheticTalkers

ROOT = Path(__file__).parents[2]
STEPS = 24
KILLS = 2
SMALL = [
    "batch_size=2",
    "sizes.unet.block_out_channels=[16,32]",
    "sizes.unet.norm_num_groups=8",
    "sizes.pose_guider.width=16",
    "sizes.motion.motion_norm_num_groups=8",
]
SETTINGS = [
    *TINY,
    "data=shards",
    f"max_steps={STEPS}",
    "callbacks.checkpoint.every_n_train_steps=2",
    "validation.every=5",
    "warmup_steps=4",
    *SMALL,
]
PROCESSES = {
    "one process": [],
    "one process, accumulating": ["trainer.accumulate_grad_batches=2", "batch_size=1", "validation.every=10"],
    "two ranks": ["trainer.devices=2", "+trainer.strategy=ddp", "batch_size=1"],
}


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("talkers") / "shards"
    SyntheticTalkers(identities=4, clips_per_identity=1, seconds=3.0, workers=1).write(folder)
    return folder


def start(experiment, shards, out, *overrides):
    portraits = ["callbacks.samples=null"] if experiment.startswith("stage") else []
    command = [sys.executable, str(ROOT / "train.py"), f"experiment={experiment}", *SETTINGS, *portraits]
    command += [f"data.folder={shards}", f"out={out}", *overrides]
    return subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"},
        start_new_session=True,
    )


def finish(process):
    errors = process.communicate(timeout=400)[1]
    assert process.returncode == 0, errors


def kill_after_a_checkpoint(process, last, delay):
    """SIGKILL to all its processes, `delay` seconds after it wrote a checkpoint; False if it had ended."""
    known = last.stat().st_mtime_ns if last.exists() else 0
    while process.poll() is None and not (last.exists() and last.stat().st_mtime_ns != known):
        time.sleep(0.005)
    time.sleep(delay)
    ended = process.poll() is not None
    if not ended:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return not ended


def different(one, other, path=""):
    """Where parts of two checkpoints differ: paths of tensors, numbers and texts."""
    if isinstance(one, torch.Tensor):
        return [] if isinstance(other, torch.Tensor) and torch.equal(one, other) else [path]
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return [path]
        return [place for key in one for place in different(one[key], other[key], f"{path}/{key}")]
    if isinstance(one, list | tuple):
        pairs = enumerate(zip(one, other, strict=True))
        return [place for k, (a, b) in pairs for place in different(a, b, f"{path}/{k}")]
    return [] if one == other else [path]


@pytest.mark.slow
@pytest.mark.parametrize("processes", PROCESSES)
@pytest.mark.parametrize("experiment", ["audio2mesh", "audio2pose", "stage1_reference", "stage2_motion"])
def test_killed_at_random_and_resumed_is_as_never_killed(experiment, processes, shards, tmp_path):
    overrides = PROCESSES[processes]
    finish(start(experiment, shards, tmp_path / "whole", *overrides))
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    run, last, kills, resume = tmp_path / "run", tmp_path / "run" / "checkpoints" / "last.ckpt", [], []
    while len(kills) < KILLS:
        process = start(experiment, shards, run, *overrides, *resume)
        if not kill_after_a_checkpoint(process, last, chance.uniform(0, 0.3)):
            break
        kills.append(torch.load(last, weights_only=True)["global_step"])
        resume = [f"resume={run}"]
    assert kills, "it ended before it could be killed"
    finish(start(experiment, shards, run, *overrides, f"resume={run}"))
    whole, resumed = (
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)
        for name in ("whole", "run")
    )
    compared = ("state_dict", "current_weights", "optimizer_states", "lr_schedulers", "global_step")
    position = next(key for key in whole if key.endswith("Data"))
    places = [
        place for part in (*compared, position) for place in different(whole[part], resumed[part], part)
    ]
    assert not places, f"seed {seed}, killed after checkpoints of steps {kills}: {places[:5]}"
    print(f"\n{experiment}, {processes}: killed after steps {kills} of {STEPS}, same to the bit")
