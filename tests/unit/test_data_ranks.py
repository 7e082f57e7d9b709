"""Ranks and loading processes: nothing twice, nothing lost, no rank waits for another, and a run that stopped in
the middle of a round goes on with the very batches it would have had."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from drawn_clips import clip

from aniportrait.data.portrait_data import PortraitData
from aniportrait.data.shards import ShardIndex, write_shards
from aniportrait.data.speech_data import SpeechData

SHARDS = (1, 3, 5, 7)
WORLD = 2


class Ranked:
    """Stands where a Trainer would: says which process this is."""

    training = True

    def __init__(self, global_rank, world_size=WORLD):
        self.global_rank, self.world_size = global_rank, world_size


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Seven clips to train on and five to validate, in so many shards."""
    clips = [clip(f"t{k}", 12 + k) for k in range(7)] + [clip(f"v{k}", 10 + k, split="val") for k in range(5)]
    root = tmp_path_factory.mktemp("sets")
    for count in SHARDS:
        write_shards(clips, root / str(count), 25.0, 32, clips_per_shard=-(-len(clips) // count))
    return root


def speech(folder, rank, workers=2, batch_size=1):
    data = SpeechData(folder, batch_size=batch_size, window_frames=8, num_workers=workers, seed=3)
    data.trainer = Ranked(rank)
    return data


def drawn(data, count):
    """Keys and windows of the next batches, as the training would use them."""
    batches = itertools.islice(iter(data.train_dataloader()), count)
    return [read(data.on_before_batch_transfer(batch, 0)) for batch in batches]


def read(batch):
    return list(zip(batch.keys, batch.vertices[:, 0, 0, 0].tolist(), strict=True))


def flat(batches):
    return [key for batch in batches for key, _ in batch]


@pytest.mark.parametrize("shards", SHARDS)
def test_two_ranks_share_a_round_among_them(folders, shards):
    """Over simulated ranks in this process; loading processes change nothing (see below)."""
    ranks = [drawn(speech(folders / str(shards), rank, workers=0), 7) for rank in range(WORLD)]
    in_order = [key for pair in zip(*map(flat, ranks), strict=True) for key in pair]
    for begin in (0, 7):
        assert sorted(in_order[begin : begin + 7]) == [f"t{k}" for k in range(7)]


def test_the_number_of_shards_changes_nothing(folders):
    sets = [drawn(speech(folders / str(count), 0, workers=0), 5) for count in SHARDS]
    assert all(batches == sets[0] for batches in sets)


@pytest.mark.parametrize("rank", range(WORLD))
def test_a_run_that_stopped_in_mid_round_goes_on_with_the_batches_it_would_have_had(folders, rank):
    """Stopped after 3 of 9 batches with two loading processes that were ahead; resumed with three, and with none."""
    folder = folders / "5"
    whole = drawn(speech(folder, rank, workers=0), 9)
    stopped = speech(folder, rank, workers=2)
    assert drawn(stopped, 3) == whole[:3]
    for workers in (3, 0) if rank == 0 else (1,):
        resumed = speech(folder, rank, workers=workers)
        resumed.load_state_dict(stopped.state_dict())
        assert drawn(resumed, 6) == whole[3:]


def test_other_ranks_and_another_batch_size_go_on_at_the_same_sample(folders):
    one = SpeechData(folders / "3", batch_size=1, window_frames=8, seed=3)
    order = flat(drawn(one, 14))
    two = speech(folders / "3", 0, workers=0, batch_size=2)
    drawn(two, 1)
    alone = SpeechData(folders / "3", batch_size=3, window_frames=8, seed=3)
    alone.load_state_dict(two.state_dict())
    assert flat(drawn(alone, 2)) == order[4:10]


def test_resuming_on_other_data_is_said(folders, tmp_path, caplog):
    write_shards([clip("x", 12)], tmp_path, 25.0, 32)
    other = SpeechData(tmp_path, seed=3)
    other.load_state_dict(speech(folders / "1", 0).state_dict())
    assert "the order of samples is another" in caplog.text


@pytest.mark.parametrize("world", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", ["speech", "portraits"])
def test_ranks_evaluate_every_window_once_in_equally_many_batches(folders, world, kind):
    seen, lengths = [], set()
    for rank in range(world):
        if kind == "speech":
            data = SpeechData(folders / "3", batch_size=2, window_frames=6)
        else:
            data = PortraitData(folders / "3", batch_size=2, image_size=32)
        data.trainer = Ranked(rank, world)
        batches = list(data.val_dataloader())
        lengths.add((len(batches), sum(len(batch.keys) for batch in batches), len(data.val_dataloader())))
        for batch in batches:
            counted = batch.valid.any(dim=1) if kind == "speech" else batch.counted
            marks = batch.vertices[:, 0, 0, 0] if kind == "speech" else torch.zeros(len(counted))
            seen += [
                mark for *mark, good in zip(batch.keys, marks.tolist(), counted.tolist(), strict=True) if good
            ]
    assert len(lengths) == 1, "every rank has the same number of batches and items"
    windows = {"speech": [0, 6, 12], "portraits": [0]}[kind]
    assert sorted(seen) == [
        [f"v{k}", w] for k in range(5) for w in windows if w < (10 + k if kind == "speech" else 1)
    ]


def test_more_ranks_than_clips_all_have_something_to_do(tmp_path):
    write_shards([clip("a", 12), clip("v", 6, split="val")], tmp_path, 25.0, 32)
    counted = []
    for rank in range(3):
        data = PortraitData(tmp_path, batch_size=2, image_size=32)
        data.trainer = Ranked(rank, 3)
        (batch,) = data.val_dataloader()
        counted += batch.counted.tolist()
        assert len(batch.only_counted().keys) == len(batch.only_counted().frames) == int(batch.counted.sum())
    assert counted == [True, False, False]


def broken(folder, keys):
    for entry in ShardIndex.load(folder).samples:
        if entry.key in keys:
            shard = folder / entry.shard
            data = bytearray(shard.read_bytes())
            offset, size = entry.members["npz"]
            data[offset : offset + size] = bytes(size)
            shard.write_bytes(data)


def test_damage_keeps_ranks_in_step_and_is_counted_once_for_all_loading_processes(tmp_path):
    write_shards(
        [clip(f"t{k}", 12) for k in range(5)] + [clip(f"v{k}", 6, split="val") for k in range(4)],
        tmp_path,
        25.0,
        32,
    )
    broken(tmp_path, {"t1", "t3", "v1"})
    data = SpeechData(tmp_path, batch_size=1, window_frames=6, num_workers=2, seed=3, max_bad=2)
    keys = [batch.keys[0] for batch in itertools.islice(iter(data.train_dataloader()), 20)]
    assert set(keys) == {"t0", "t2", "t4"}
    data.num_workers = 0
    assert keys == [batch.keys[0] for batch in itertools.islice(iter(data.train_dataloader()), 20)]
    for rank in range(WORLD):
        data.trainer = Ranked(rank)
        batches = list(data.val_dataloader())
        assert len(batches) == 2
        counted = [
            key for batch in batches for key, good in zip(batch.keys, batch.valid.any(1), strict=True) if good
        ]
        assert counted == (["v0"] if rank == 0 else ["v2", "v3"])


FIT = """
import json, sys
import torch
from lightning import LightningModule, Trainer
from aniportrait.data.speech_data import SpeechData


class Recorder(LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.trained, self.validated = [], []

    def training_step(self, batch, _):
        self.trained.append([batch.keys[0], batch.vertices[0, 0, 0, 0].item()])
        return self.weight.sum()

    def validation_step(self, batch, _):
        self.validated += [key for key, good in zip(batch.keys, batch.valid.any(1)) if good]
        self.log("val/count", batch.valid.any(1).float().sum(), sync_dist=True)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


if __name__ == "__main__":
    folder, out, steps, workers, resume = sys.argv[1:]
    recorder = Recorder()
    trainer = Trainer(
        accelerator="cpu", devices=2, strategy="ddp", max_steps=int(steps), max_epochs=-1, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, val_check_interval=3,
        check_val_every_n_epoch=None, num_sanity_val_steps=0, use_distributed_sampler=False,
    )
    data = SpeechData(folder, batch_size=1, window_frames=20, num_workers=int(workers), seed=3)
    trainer.fit(recorder, data, ckpt_path=resume or None)
    trainer.save_checkpoint(f"{out}.ckpt")
    with open(f"{out}.{trainer.global_rank}.json", "w") as file:
        json.dump({"trained": recorder.trained, "validated": recorder.validated}, file)
"""


@pytest.mark.slow
@pytest.mark.parametrize("shards", SHARDS)
def test_two_gloo_processes_with_two_loading_processes_each(folders, shards, tmp_path):
    """Through DDP: no hang, disjoint, complete; stopped after 5 steps, resumed with 3 loading processes."""

    def fit(name, steps, workers, resume=""):
        script = tmp_path / "fit.py"
        script.write_text(FIT)
        command = [sys.executable, script, folders / str(shards), tmp_path / name, steps, workers, resume]
        finished = subprocess.run(
            [str(word) for word in command],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=580,
        )
        assert finished.returncode == 0, finished.stderr
        return [json.loads((tmp_path / f"{name}.{rank}.json").read_text()) for rank in range(WORLD)]

    whole = fit("whole", 7, 2)
    keys = [key for pair in zip(*(rank["trained"] for rank in whole), strict=True) for key, _ in pair]
    for begin in (0, 7):
        assert sorted(keys[begin : begin + 7]) == [f"t{k}" for k in range(7)]
    assert sorted(whole[0]["validated"] + whole[1]["validated"]) == sorted([f"v{k}" for k in range(5)] * 2)
    fit("begun", 5, 2)
    ended = fit("ended", 7, 3, tmp_path / "begun.ckpt")
    assert [rank["trained"] for rank in ended] == [rank["trained"][5:] for rank in whole]
