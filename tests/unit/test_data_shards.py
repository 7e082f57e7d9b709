"""Shards: plain WebDataset tars that give back what was put in, from any offset, and never half of it."""

import json
import tarfile

import numpy as np
import pytest
import webdataset
from drawn_clips import clip

from aniportrait.data.schema import ClipSample
from aniportrait.data.shards import (
    ShardError,
    ShardIndex,
    read_member,
    read_sample,
    write_shards,
)


def equal(first: ClipSample, second: ClipSample) -> None:
    assert first.meta == second.meta
    assert first.video == second.video
    assert (first.audio is None) == (second.audio is None)
    if first.audio is not None and second.audio is not None:
        np.testing.assert_allclose(first.audio, second.audio, atol=1 / 65536)
    for name in ("landmarks", "vertices", "pose_matrix", "blendshapes", "valid"):
        np.testing.assert_array_equal(getattr(first.track, name), getattr(second.track, name))
    np.testing.assert_array_equal(first.neutral_vertices, second.neutral_vertices)


def test_samples_come_back_as_they_were_from_their_offsets(tmp_path):
    clips = [clip("a"), clip("b-long name (1)", 9), clip("c", audio=False), clip("d", 3), clip("e", 5)]
    index = write_shards(clips, tmp_path, 25.0, 32, clips_per_shard=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "index.json", "shard-000000.tar", "shard-000001.tar", "shard-000002.tar",
    ]  # fmt: skip
    assert [entry.shard[-5] for entry in index.samples] == ["0", "0", "1", "1", "2"]
    for entry, original in reversed(list(zip(index.samples, clips, strict=True))):
        equal(read_sample(tmp_path, entry), original)


def test_plain_webdataset_reads_them(tmp_path):
    clips = [clip("a"), clip("b", audio=False)]
    write_shards(clips, tmp_path, 25.0, 32)
    urls = [str(path) for path in sorted(tmp_path.glob("*.tar"))]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == ["a", "b"]
    assert samples[0]["mp4"] == clips[0].video
    assert "flac" in samples[0]
    assert "flac" not in samples[1]
    assert json.loads(samples[1]["json"])["identity"] == "person-b"


def test_offsets_are_those_of_tarfile(tmp_path):
    index = write_shards([clip("a"), clip("b")], tmp_path, 25.0, 32)
    with tarfile.open(tmp_path / "shard-000000.tar") as archive:
        found = {member.name: (member.offset_data, member.size) for member in archive.getmembers()}
    said = {f"{entry.key}.{name}": place for entry in index.samples for name, place in entry.members.items()}
    assert said == found


def test_the_same_samples_give_the_same_bytes(tmp_path):
    clips = [clip("a"), clip("b")]
    for name in ("one", "two"):
        write_shards(clips, tmp_path / name, 25.0, 32)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_an_error_while_writing_leaves_the_earlier_data_set_untouched(tmp_path):
    write_shards([clip("a")], tmp_path, 25.0, 32)

    def clips_until_a_power_cut():
        yield clip("b")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        write_shards(clips_until_a_power_cut(), tmp_path, 25.0, 32)
    assert [entry.key for entry in ShardIndex.load(tmp_path).samples] == ["a"]
    equal(read_sample(tmp_path, ShardIndex.load(tmp_path).samples[0]), clip("a"))


def test_a_smaller_data_set_leaves_no_stale_shards(tmp_path):
    write_shards([clip("a"), clip("b")], tmp_path, 25.0, 32, clips_per_shard=1)
    write_shards([clip("c")], tmp_path, 25.0, 32, clips_per_shard=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.json", "shard-000000.tar"]


def test_what_a_killed_run_left_is_cleared_away(tmp_path):
    (tmp_path / ".shard-000007.tar.another-machine.123.partial").write_bytes(b"half")
    write_shards([clip("a")], tmp_path, 25.0, 32)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.json", "shard-000000.tar"]


@pytest.mark.parametrize("key", ["a.b", "a/b", "", "x" * 91])
def test_bad_keys_are_refused(tmp_path, key):
    with pytest.raises(ValueError, match="key"):
        write_shards([clip(key)], tmp_path, 25.0, 32)


def test_a_key_may_not_occur_twice_and_sizes_must_agree(tmp_path):
    with pytest.raises(ValueError, match="key a occurs twice"):
        write_shards([clip("a"), clip("a")], tmp_path, 25.0, 32)
    with pytest.raises(ValueError, match=r"32x32 at 25\.0 fps, this data set 64x64"):
        write_shards([clip("a")], tmp_path, 25.0, 64)


def test_a_cut_shard_is_named(tmp_path):
    index = write_shards([clip("a")], tmp_path, 25.0, 32)
    shard = tmp_path / "shard-000000.tar"
    shard.write_bytes(shard.read_bytes()[:2000])
    with pytest.raises(ShardError, match=r"shard-000000.tar ends before .* sample a"):
        read_sample(tmp_path, index.samples[0])
    with pytest.raises(ShardError, match="sample a has no wav"):
        read_member(tmp_path, index.samples[0], "wav")


def test_a_folder_without_an_index_or_with_another_format_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no index\.json"):
        ShardIndex.load(tmp_path)
    (tmp_path / "index.json").write_text('{"format": 9}')
    with pytest.raises(ShardError, match="format 9"):
        ShardIndex.load(tmp_path)
    (tmp_path / "index.json").write_text("{")
    with pytest.raises(ShardError, match="not an index"):
        ShardIndex.load(tmp_path)
