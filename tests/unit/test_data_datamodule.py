"""Batches: what is in them, and that their order is a function of the seed and the position, come what may."""

import logging
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from drawn_clips import clip
from lightning import LightningModule, Trainer

from aniportrait.data.portrait_data import PortraitData
from aniportrait.data.shards import ShardError, ShardIndex, write_shards
from aniportrait.data.speech_data import SpeechData
from aniportrait.face.topology import LIPS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Seven clips to train on, one of them without sound, and two to validate, one longer than a window."""
    path = tmp_path_factory.mktemp("shards")
    clips = [clip(f"t{k}", 12 + k, identity=f"p{k // 2}") for k in range(6)]
    clips += [clip("mute", 20, audio=False), clip("v0", 10, split="val"), clip("v1", 23, split="val")]
    write_shards(clips, path, 25.0, 32, clips_per_shard=2)
    return path


def batches(data, count, **changes):
    for name, value in changes.items():
        setattr(data, name, value)
    stream = iter(data.train_dataloader())
    return [data.on_after_batch_transfer(next(stream), 0) for _ in range(count)]


def same(first, second):
    assert [batch.keys for batch in first] == [batch.keys for batch in second]
    for one, other in zip(first, second, strict=True):
        for a, b in zip(one, other, strict=True):
            assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def speech(folder, **options):
    return SpeechData(folder, **{"batch_size": 3, "window_frames": 8, "seed": 5} | options)


def portraits(folder, **options):
    return PortraitData(folder, **{"batch_size": 2, "image_size": 32, "seed": 5} | options)


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


def test_a_portrait_batch_shows_the_frames_whose_landmarks_it_draws(folder):
    data = portraits(folder, frames=4, strides=(1, 3))
    for batch in batches(data, 6):
        assert batch.frames.shape == batch.pose_image.shape == (2, 4, 3, 32, 32)
        assert batch.reference_image.shape == batch.reference_pose_image.shape == (2, 3, 32, 32)
        numbers = ((batch.frames.mean(dim=(2, 3, 4)) + 1) * 127.5 - 10) / 4
        from_boxes = batch.face_box[..., 0] * 100 - 10
        torch.testing.assert_close(numbers, from_boxes, atol=0.4, rtol=0)
        steps = set((numbers.round()[:, 1:] - numbers.round()[:, :-1]).flatten().int().tolist())
        assert steps <= {1, 2, 3}
        assert 2 not in numbers.round().int(), "no window holds the frame without a face"
        assert batch.pose_image.max() > 0.5
        assert batch.pose_image.min() == -1


def test_a_frame_comes_with_the_box_of_its_lips(folder):
    landmarks = clip("any", 30).track.landmarks  # the same in every clip
    for batch in batches(portraits(folder, frames=3), 6):
        numbers = (((batch.frames.mean(dim=(2, 3, 4)) + 1) * 127.5 - 10) / 4).round().long()
        lips = landmarks[numbers][..., LIPS, :2]
        boxes = np.concatenate((lips.min(axis=2), lips.max(axis=2)), axis=2)
        np.testing.assert_allclose(batch.mouth_box, boxes, atol=1e-6)


def test_the_portrait_keeps_its_distance_from_the_frames(folder):
    for batch in batches(portraits(folder, frames=3, min_reference_gap=3), 6):
        numbers = ((batch.frames.mean(dim=(2, 3, 4)) + 1) * 127.5 - 10) / 4
        reference = ((batch.reference_image.mean(dim=(1, 2, 3)) + 1) * 127.5 - 10) / 4
        assert ((reference[:, None] - numbers).abs().min(dim=1).values > 2.5).all()
        assert (reference - 2).abs().min() > 0.5, "the frame without a face is no portrait"


def test_training_leaves_the_end_of_every_clip_unseen_where_it_is_told_to(folder):
    """Clips have 12 to 20 frames; frame k is of colour 10 + 4 k."""

    def last_part_of(share):
        data = portraits(folder, train_share=share, min_reference_gap=0, batch_size=1)
        length = {entry.key: entry.frames for entry in data.indexes[0].samples}
        seen = []
        for batch in batches(data, 60):
            pictures = torch.cat([batch.frames[0], batch.reference_image])
            numbers = ((pictures.mean(dim=(1, 2, 3)) + 1) * 127.5 - 10) / 4
            seen.append((numbers.max() / length[batch.keys[0]]).item())
        return max(seen)

    assert last_part_of(1.0) > 0.9
    assert last_part_of(0.5) < 0.5


def test_clips_whose_seen_part_is_shorter_than_a_window_are_left_out(folder):
    """Training clips have 12 to 17 and 20 frames, validation clips 10 and 23, which are seen whole."""
    data = portraits(folder, frames=8, train_share=0.5)
    assert {key for batch in batches(data, 12) for key in batch.keys} == {"t4", "t5", "mute"}
    assert {entry.key for entry in portraits(folder, frames=20, train_share=0.5)._usable("val")} == {"v1"}


def test_portraits_come_at_the_size_asked_for(folder):
    assert batches(portraits(folder, image_size=24), 1)[0].frames.shape == (2, 1, 3, 24, 24)
    assert batches(portraits(folder, image_size=64), 1)[0].pose_image.shape == (2, 1, 3, 64, 64)


def test_validation_of_portraits_takes_every_clip_once(folder):
    keys = [key for batch in portraits(folder).val_dataloader() for key in batch.keys]
    assert keys == ["v0", "v1"]


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
