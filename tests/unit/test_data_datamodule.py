"""Batches: what is in them, and that their order is a function of the seed and the position, come what may."""

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from drawn_clips import clip
from lightning import LightningModule, Trainer
from training_clips import batches, portraits, write_training_clips

from aniportrait.data.shards import ShardError, ShardIndex, write_shards
from aniportrait.data.speech_data import SpeechData
from aniportrait.data.stream import TrainingStream


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_training_clips(tmp_path_factory.mktemp("shards"))


def same(first, second):
    assert [batch.keys for batch in first] == [batch.keys for batch in second]
    for one, other in zip(first, second, strict=True):
        for a, b in zip(one, other, strict=True):
            assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def speech(folder, **options):
    return SpeechData(folder, **{"batch_size": 3, "window_frames": 8, "seed": 5} | options)


class Ranked:
    """Stands where a Trainer would: says which process this is."""

    training = True

    def __init__(self, global_rank, world_size):
        self.global_rank, self.world_size = global_rank, world_size


def test_a_speech_batch_holds_what_its_window_says(folder):
    batch = batches(speech(folder), 1)[0]
    assert batch.audio.shape == (3, 8 * 640)
    assert batch.vertices.shape == batch.expected_vertices.shape == (3, 8, 468, 3)
    assert batch.neutral_vertices.shape == (3, 468, 3)
    assert batch.head_pose.shape == (3, 8, 6)
    first = batch.vertices[:, :1, 0, 0]
    torch.testing.assert_close(batch.vertices[:, :, 7, 1], first + torch.arange(8.0))
    torch.testing.assert_close(batch.audio[:, ::640] * 1000, batch.vertices[..., 0, 0], atol=0.02, rtol=0)
    torch.testing.assert_close(batch.head_pose[:, :, 3], torch.arange(8.0).expand(3, 8))
    assert torch.equal(batch.valid, batch.vertices[..., 0, 0] != 2)


def test_identities_are_numbered_among_those_trained_on(folder):
    data = speech(folder)
    for batch in batches(data, 3):
        assert [f"p{int(key[1]) // 2}" for key in batch.keys] == [data.identities[n] for n in batch.identity]
    assert set(next(iter(data.val_dataloader())).identity.tolist()) == {0}, "unseen ones are number 0"


def test_clips_without_sound_are_left_out_and_counted(folder, caplog):
    with caplog.at_level(logging.WARNING):
        keys = {key for batch in batches(speech(folder), 6) for key in batch.keys}
    assert keys == {f"t{k}" for k in range(6)}
    assert "1 of 7 train clips have no sound" in caplog.text


def test_validation_covers_every_frame_of_every_clip_once(folder):
    seen = [
        (key, int(number))
        for batch in speech(folder).val_dataloader()
        for key, vertices, valid in zip(batch.keys, batch.vertices, batch.valid, strict=True)
        for number, good in zip(vertices[:, 0, 0], valid, strict=True)
        if good
    ]
    assert sorted(seen) == [("v0", n) for n in range(10) if n != 2] + [("v1", n) for n in range(23) if n != 2]
    loader = speech(folder).val_dataloader()
    assert len(loader) == len(list(loader)) == 2
    same(list(loader), list(loader))


@pytest.mark.parametrize("world_size", [1, 2])
def test_a_split_without_a_usable_clip_is_evaluated_in_no_batch(tmp_path, folder, world_size):
    write_shards([clip("t", 12)], tmp_path, 25.0, 32)
    for data in (speech(tmp_path), portraits(tmp_path), portraits(folder, frames=30)):
        data.trainer = Ranked(world_size - 1, world_size)
        assert list(data.val_dataloader()) == []
        assert len(data.val_dataloader()) == 0


def test_every_clip_occurs_once_in_each_round_in_another_order(folder):
    keys = [key for batch in batches(speech(folder, batch_size=1), 18) for key in batch.keys]
    rounds = [keys[0:6], keys[6:12], keys[12:18]]
    assert all(sorted(part) == sorted(rounds[0]) for part in rounds)
    assert rounds[0] != rounds[1] != rounds[2]


def test_the_same_seed_gives_the_same_batches_and_another_seed_others(folder):
    same(batches(speech(folder), 5), batches(speech(folder), 5))
    assert [b.keys for b in batches(speech(folder), 5)] != [
        b.keys for b in batches(speech(folder, seed=6), 5)
    ]


def test_the_number_of_workers_changes_nothing(folder):
    for make in (speech, portraits):
        same(batches(make(folder), 5), batches(make(folder, num_workers=2), 5))


def test_ranks_share_one_order_and_no_position(folder):
    alone = [key for batch in batches(speech(folder, batch_size=1), 12) for key in batch.keys]
    ranks = [batches(speech(folder, batch_size=2), 2, trainer=Ranked(rank, 3)) for rank in range(3)]
    for rank, parts in enumerate(ranks):
        assert [key for batch in parts for key in batch.keys] == alone[rank::3]


class Recorder(LightningModule):
    """Trains nothing and writes down the clips and windows it was given."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen = []

    def training_step(self, batch, _):
        self.seen.append([*batch.keys, *batch.vertices[:, 0, 0, 0].tolist()])
        return self.weight.sum()

    def validation_step(self, batch, _):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(folder, path, steps, resume=None, workers=0, batch_size=3):
    recorder = Recorder()
    trainer = Trainer(
        accelerator="cpu",
        max_steps=steps,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        val_check_interval=2,
        check_val_every_n_epoch=None,
    )
    trainer.fit(recorder, speech(folder, num_workers=workers, batch_size=batch_size), ckpt_path=resume)
    trainer.save_checkpoint(path)
    return recorder.seen


def test_a_resumed_training_goes_on_where_it_stopped(folder, tmp_path):
    """Though the workers of the first part had loaded ahead, and the second part has none."""
    whole = fit(folder, tmp_path / "whole.ckpt", 7)
    begun = fit(folder, tmp_path / "begun.ckpt", 3, workers=2)
    ended = fit(folder, tmp_path / "ended.ckpt", 7, resume=tmp_path / "begun.ckpt")
    assert begun + ended == whole


def test_the_position_survives_another_batch_size(folder):
    first = speech(folder)
    first.load_state_dict({"position": 9})
    assert first.state_dict()["position"] == 9
    flat = [key for batch in batches(speech(folder, batch_size=1), 12) for key in batch.keys]
    assert batches(first, 1)[0].keys == flat[9:12]


def damaged(tmp_path, count):
    write_shards([clip(f"t{k}", 12) for k in range(5)], tmp_path, 25.0, 32, clips_per_shard=1)
    for entry in ShardIndex.load(tmp_path).samples[:count]:
        shard = tmp_path / entry.shard
        data = bytearray(shard.read_bytes())
        offset, size = entry.members["npz"]
        data[offset : offset + size] = bytes(size)
        shard.write_bytes(data)
    return tmp_path


def test_a_damaged_clip_is_named_and_another_takes_its_place(tmp_path, caplog):
    data = speech(damaged(tmp_path, 1), batch_size=5, max_bad=1)
    with caplog.at_level(logging.WARNING):
        first, second = batches(data, 2)
    assert "t0" not in first.keys + second.keys
    assert len(first.keys) == 5
    assert caplog.text.count("clip t0 is left out (1 of at most 1)") == 1


def test_what_stands_at_a_position_does_not_depend_on_what_was_read_before():
    """Else a resumed run, which has not met the damaged frames of a clip, would go on otherwise."""

    def in_part_damaged(entry, generator):
        frame = int(generator.integers(10))
        if entry.key == "a" and frame < 5:
            raise ShardError("frame 3 is damaged")
        return entry.key, frame

    def stream():
        entries = [SimpleNamespace(key=key) for key in "abc"]
        order = SimpleNamespace(seed=0, candidates=lambda position: [(position + k) % 3 for k in range(3)])
        return TrainingStream(SimpleNamespace(random=in_part_damaged), entries, order, batch_size=1)

    whole = stream()
    items = [whole.item(position) for position in range(60)]
    assert items == [stream().item(position) for position in range(60)]
    assert {key for key, _ in items[::3]} == {"a", "b"}, "some of the damaged clip, some in its place"


def test_too_many_damaged_clips_are_an_error(tmp_path):
    with pytest.raises(ShardError, match=r"more than max_bad \(2\) clips cannot be read"):
        batches(speech(damaged(tmp_path, 3), batch_size=5, max_bad=2), 2)
    with pytest.raises(ShardError, match="none of the 5 clips can be read"):
        batches(speech(damaged(tmp_path, 5), batch_size=5, max_bad=9), 1)


class Builder:
    def write(self, folder):
        write_shards([clip("a", 12)], folder, 25.0, 32)


def test_a_missing_data_set_is_built_or_said_to_be_missing(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"data\.folder .* prepare\.py source=folder source\.path=DIR"
    ):
        speech(tmp_path / "none").prepare_data()
    data = speech(tmp_path / "made", build=Builder())
    data.prepare_data()
    data.prepare_data()
    assert batches(data, 1)[0].keys == ["a", "a", "a"]


def test_bad_settings_are_refused_by_name(folder):
    for options, text in (
        ({"batch_size": 0}, r"batch_size \(0\)"),
        ({"window_frames": 0}, r"window_frames \(0\)"),
        ({"seed": -1}, r"seed \(-1\)"),
    ):
        with pytest.raises(ValueError, match=text):
            speech(folder, **options)
    with pytest.raises(ValueError, match=r"frames \(0\)"):
        portraits(folder, frames=0)
    with pytest.raises(ValueError, match=r"train_share \(1.5\)"):
        portraits(folder, train_share=1.5)
    with pytest.raises(ValueError, match="no clip to train on"):
        portraits(folder, frames=99).train_dataloader()


def test_items_of_short_clips_are_padded_and_the_padding_is_not_valid(folder):
    batch = next(iter(speech(folder, window_frames=30).val_dataloader()))
    assert batch.valid[0].tolist() == [k < 10 and k != 2 for k in range(30)]
    assert not batch.audio[0, 10 * 640 :].any()
    np.testing.assert_array_equal(batch.vertices[0, 10:, 0, 0], 9)


class SlowBuilder:
    """Writes a data set, and notes how often."""

    def __init__(self):
        self.calls = 0

    def write(self, folder):
        self.calls += 1
        time.sleep(0.2)
        return write_shards([clip("a", 12)], folder, 25.0, 32)


def test_trainings_that_begin_together_write_a_missing_data_set_once(tmp_path):
    builder = SlowBuilder()
    trainings = [portraits(tmp_path / "new" / "set", build=builder) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda data: data.prepare_data(), trainings))
    assert builder.calls == 1
    assert [len(data.indexes[0].samples) for data in trainings] == [1, 1, 1]
