"""Precomputed latents: the same training with and without them, and none that belong to something else."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from drawn_clips import clip

from aniportrait.cli.encoders import encoder_name
from aniportrait.data import latents as module
from aniportrait.data.latents import Latents, LatentsOrigin, write_latents
from aniportrait.data.portrait_data import PortraitData
from aniportrait.data.shards import ShardError, ShardIndex, write_shards
from aniportrait.models.autoencoder import SpaceToDepth
from aniportrait.models.image_encoder import ThumbnailEncoder, TinyImageEncoder

SIZE = 32
NAMES = ("A 1", "B 2")


@pytest.fixture
def folder(tmp_path):
    write_shards(
        [clip(f"t{k}", 9 + k) for k in range(3)] + [clip("v", 8, split="val")],
        tmp_path,
        25.0,
        32,
        clips_per_shard=2,
    )
    return tmp_path


def encode(pictures):
    return SpaceToDepth().encode(pictures), ThumbnailEncoder(2)(pictures)[:, 0]


def origin(folder):
    return LatentsOrigin(*NAMES, SIZE, ShardIndex.load(folder).digest)


def portraits(folder, **options):
    data = PortraitData(folder, batch_size=2, image_size=SIZE, frames=3, strides=(1, 2), seed=4, **options)
    data.encoders = lambda: NAMES
    return data


def first_batch(loader, data):
    return data.on_after_batch_transfer(next(iter(loader)), 0)


def test_a_batch_brings_the_latents_of_the_very_frames_it_would_have_shown(folder):
    plain = portraits(folder)
    seen = first_batch(plain.train_dataloader(), plain)
    write_latents(folder, encode, origin(folder), batch_size=4)
    cached = portraits(folder)
    read = first_batch(cached.train_dataloader(), cached)
    assert read.keys == seen.keys
    assert torch.equal(read.pose_image, seen.pose_image)
    assert read.frames.shape == (2, 3, 3, 0, 0), "no picture is decoded"
    expected = SpaceToDepth().encode(seen.frames.flatten(0, 1)).unflatten(0, (2, 3))
    torch.testing.assert_close(read.latents.float(), expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(
        read.reference_latents.float(), SpaceToDepth().encode(seen.reference_image), atol=1e-3, rtol=0
    )
    torch.testing.assert_close(
        read.image_embeds.float(), ThumbnailEncoder(2)(seen.reference_image), atol=1e-3, rtol=0
    )
    validated = first_batch(cached.val_dataloader(), cached)
    assert validated.frames.shape == (1, 3, 3, SIZE, SIZE), "validation shows pictures as well"
    torch.testing.assert_close(
        validated.latents[0].float(), SpaceToDepth().encode(validated.frames[0]), atol=1e-3, rtol=0
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"autoencoder": "C 3"}, "another autoencoder"),
        ({"image_encoder": "C 3"}, "another image encoder"),
        ({"image_size": 64}, "another image_size"),
        ({"data": "0"}, "other shards, or another crop"),
    ],
)
def test_latents_of_something_else_are_refused(folder, change, said):
    write_latents(
        folder, encode, replace(origin(folder), **{k: v for k, v in change.items() if k != "image_size"})
    )
    if "image_size" in change:
        path = folder / "latents" / "index.json"
        content = json.loads(path.read_text())
        content["origin"] |= change
        path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"belong to {said}.*step=latents.*data\.latents=false"):
        portraits(folder).train_dataloader()
    assert first_batch(portraits(folder, latents=False).train_dataloader(), portraits(folder)).latents is None


def test_shards_prepared_again_with_another_crop_have_no_use_for_old_latents(folder):
    write_latents(folder, encode, origin(folder))
    write_shards([clip("t0", 30), clip("v", 8, split="val")], folder, 25.0, 32)
    with pytest.raises(ValueError, match="another crop"):
        portraits(folder).train_dataloader()


def test_changed_pictures_have_no_latents(folder):
    write_latents(folder, encode, origin(folder))
    for option in ({"flip_chance": 0.5}, {"smallest_crop": 0.8}, {"colour_change": 0.1}):
        with pytest.raises(ValueError, match="unchanged pictures"):
            portraits(folder, **option).train_dataloader()


def interrupt_in_the_second_shard(folder):
    calls = []

    def interrupted(pictures):
        calls.append(len(pictures))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return encode(pictures)

    with pytest.raises(KeyboardInterrupt):
        write_latents(folder, interrupted, origin(folder))


def test_an_interrupted_run_goes_on_at_the_shard_it_stood_at(folder):
    interrupt_in_the_second_shard(folder)
    assert Latents.load(folder) is None, "half of the latents are none"
    counted = []
    write_latents(
        folder, lambda pictures: (counted.append(len(pictures)), encode(pictures))[1], origin(folder)
    )
    assert sum(counted) == 11 + 8, "only the second shard"
    first = {path.name: path.read_bytes() for path in (folder / "latents").iterdir()}
    assert sorted(first) == ["index.json", "shard-000000.tar", "shard-000001.tar"]
    (folder / "latents" / "index.json").unlink()
    write_latents(folder, encode, origin(folder))
    assert {path.name: path.read_bytes() for path in (folder / "latents").iterdir()} == first
    write_latents(folder, lambda _: pytest.fail("there is nothing left to encode"), origin(folder))


def test_another_precision_is_encoded_anew_and_not_mixed(folder):
    interrupt_in_the_second_shard(folder)
    counted = []

    def counting(pictures):
        counted.append(len(pictures))
        return encode(pictures)

    for times, precision in enumerate(("bf16", "bf16", "32"), 1):
        write_latents(folder, counting, origin(folder), precision=precision)
        assert sum(counted) == (1 if times < 3 else 2) * sum(
            entry.frames for entry in ShardIndex.load(folder).samples
        )


def test_two_interrupted_runs_with_two_encoders_are_not_mixed(folder, monkeypatch):
    interrupt_in_the_second_shard(folder)
    with monkeypatch.context() as patch:
        patch.setattr(module, "write_text", killed)  # the other encoder's tar is there, its record is not
        with pytest.raises(RuntimeError, match="killed"):
            write_latents(folder, lambda pictures: encode(-pictures), other(folder))
    write_latents(folder, encode, origin(folder))
    mixed = {path.name: path.read_bytes() for path in (folder / "latents").iterdir()}
    for path in (folder / "latents").iterdir():
        path.unlink()
    write_latents(folder, encode, origin(folder))
    assert {path.name: path.read_bytes() for path in (folder / "latents").iterdir()} == mixed


def killed(*_):
    raise RuntimeError("killed")


def other(folder):
    return replace(origin(folder), autoencoder="C 3")


def test_latents_of_a_smaller_set_leave_none_of_the_larger(folder):
    write_latents(folder, encode, origin(folder))
    write_shards([clip("t0", 9)], folder, 25.0, 32)
    write_latents(folder, encode, origin(folder))
    left = sorted(path.name for path in (folder / "latents").iterdir())
    assert left == ["index.json", "shard-000000.tar"]


def test_a_clip_that_cannot_be_read_gets_no_latents_and_others_do(folder, caplog):
    entry = ShardIndex.load(folder).samples[1]
    shard = folder / entry.shard
    data = bytearray(shard.read_bytes())
    offset, size = entry.members["mp4"]
    data[offset : offset + size] = bytes(size)
    shard.write_bytes(data)
    write_latents(folder, encode, origin(folder))
    assert "clip t1 gets no latents" in caplog.text
    found = Latents.load(folder)
    with pytest.raises(ShardError, match=r"t1 .* has no latents"):
        found.read(entry, [0])
    with pytest.raises(ShardError, match="more than max_bad"):
        write_latents(folder, encode, replace(origin(folder), autoencoder="x"), max_bad=0)


def test_numbers_that_float16_cannot_hold_are_refused(folder):
    with pytest.raises(ValueError, match="do not fit into float16"):
        write_latents(folder, lambda pictures: (pictures * 1e6, pictures.mean((2, 3))), origin(folder))


def test_latents_are_members_that_numpy_reads(folder):
    import io

    import webdataset

    write_latents(folder, encode, origin(folder))
    samples = list(webdataset.WebDataset(str(folder / "latents" / "shard-000000.tar"), shardshuffle=False))
    array = np.load(io.BytesIO(samples[1]["latents.npy"]))
    frames = [2, 7, 4]
    read, embeds = Latents.load(folder).read(ShardIndex.load(folder).samples[1], frames)
    np.testing.assert_array_equal(read, array[frames])
    np.testing.assert_array_equal(embeds, np.load(io.BytesIO(samples[1]["image_embeds.npy"]))[[4]])


def test_an_encoder_is_named_by_its_weights_and_numbers():
    assert encoder_name(TinyImageEncoder(16, seed=0)) == encoder_name(TinyImageEncoder(16, seed=0))
    assert encoder_name(TinyImageEncoder(16, seed=0)) != encoder_name(TinyImageEncoder(16, seed=1))
    assert encoder_name(ThumbnailEncoder(8)) != encoder_name(ThumbnailEncoder(4))
    assert encoder_name(SpaceToDepth(8)) != encoder_name(SpaceToDepth(8, scaling_factor=0.5))
    assert encoder_name(SpaceToDepth(8)).startswith("SpaceToDepth ")


def test_the_format_is_checked(folder, monkeypatch):
    write_latents(folder, encode, origin(folder))
    monkeypatch.setattr(module, "FORMAT", 9)
    with pytest.raises(ShardError, match="format 1, this version reads 9"):
        Latents.load(folder)
