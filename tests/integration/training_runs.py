"""Small trainings, in this process and in others, and what is to be compared of them."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from entries import TINY, composed

from aniportrait.checkpoints.store import open_weights
from aniportrait.cli.train import train
from aniportrait.training.callbacks.ema import CURRENT

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
        "~optimizer.fused",
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
    """Step and figure of every validation in a run's log."""
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
