"""Preparation that was stopped, shared out or changed: nothing finished is done twice, and the bytes are the same."""

import os
from pathlib import Path

import pytest
from bright_faces import bright_faces, face, mixed_folder, preparation, prepared

from aniportrait.data import preprocess, workers
from aniportrait.data.folder import FolderSource
from aniportrait.data.media import write_video
from aniportrait.data.preprocess import NothingKeptError, Partition, UnfinishedError
from aniportrait.data.shards import ShardIndex, read_sample

pytestmark = pytest.mark.usefixtures(bright_faces.__name__)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_killed_run_goes_on_where_it_was_and_ends_with_the_same_bytes(tmp_path, monkeypatch):
    folder = mixed_folder(tmp_path / "clips")
    prepared(folder, tmp_path / "whole")
    seen = []
    original = workers.prepare_clip

    def killed_at_the_fifth(clip, *rest):
        if len(seen) == 4:
            seen.append("killed")
            raise KeyboardInterrupt
        seen.append(clip.path.name)
        return original(clip, *rest)

    monkeypatch.setattr(workers, "prepare_clip", killed_at_the_fifth)
    with pytest.raises(KeyboardInterrupt):
        prepared(folder, tmp_path / "out")
    assert not (tmp_path / "out" / "index.json").exists(), "nobody takes it for a data set"
    prepared(folder, tmp_path / "out")
    assert sorted(seen) == sorted([*os.listdir(folder), "killed"]), "no clip twice, none left out"
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_second_run_does_nothing_and_a_changed_clip_is_done_again(tmp_path, monkeypatch):
    folder = mixed_folder(tmp_path / "clips")
    first = prepared(folder, tmp_path / "out")
    calls = []
    original = workers.prepare_clip
    monkeypatch.setattr(
        workers, "prepare_clip", lambda clip, *rest: calls.append(clip) or original(clip, *rest)
    )
    assert prepared(folder, tmp_path / "out") == first
    assert not calls
    write_video(folder / "k empty.mp4", [face()] * 20, 25.0)
    assert prepared(folder, tmp_path / "out")["kept"] == first["kept"] + 1
    assert calls


def test_partitions_on_several_machines_give_the_same_bytes_once_merged(tmp_path, monkeypatch):
    folder = mixed_folder(tmp_path / "clips")
    prepared(folder, tmp_path / "whole")
    done = []
    original = workers.prepare_clip
    monkeypatch.setattr(
        workers, "prepare_clip", lambda clip, *rest: done.append(clip.path) or original(clip, *rest)
    )
    shared_out = preparation(folder, tmp_path / "out")
    for text in ("2/3", "1/3"):
        shared_out.run_partition(Partition.read(text), workers=0)
    with pytest.raises(
        UnfinishedError, match=r"3 of 11 clips are not prepared with these settings yet, .*clips"
    ):
        shared_out.merge()
    with pytest.raises(UnfinishedError, match="11 of 11 clips"):
        preparation(folder, tmp_path / "out", margin=0.3).merge()
    shared_out.run_partition(Partition.read("3/3"), workers=0)
    shared_out.merge()
    assert sorted(done) == sorted(folder.iterdir()), "no clip is in two partitions, none left out"
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    for text in ("0/3", "4/3", "3", "1/0", "a/b"):
        with pytest.raises(ValueError, match="must be k/n"):
            Partition.read(text)


def test_other_persons_and_splits_need_no_clip_to_be_prepared_again(tmp_path, monkeypatch):
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in "abc":
        write_video(folder / f"{name}.mp4", [face()] * 20, 25.0)
    preparation(folder, tmp_path / "out").run_partition(Partition(), workers=0)
    table = tmp_path / "table.csv"
    table.write_text("file,identity,split\na.mp4,p,val\nb.mp4,p,\nc.mp4,q,train\n")
    monkeypatch.setattr(workers, "prepare_clip", lambda *_: pytest.fail("prepared again"))
    preparation(FolderSource(folder, table), tmp_path / "out").run(workers=0)
    samples = ShardIndex.load(tmp_path / "out").samples
    assert [(e.key, e.identity, e.split) for e in samples] == [
        ("a", "p", "val"), ("b", "p", "val"), ("c", "q", "train"),
    ]  # fmt: skip
    stored = read_sample(tmp_path / "out", samples[1]).meta
    assert (stored.identity, stored.split) == ("p", "val")


def test_another_landmarker_prepares_every_clip_anew(tmp_path, monkeypatch):
    folder = tmp_path / "clips"
    folder.mkdir()
    write_video(folder / "a.mp4", [face()] * 20, 25.0)
    preparation(folder, tmp_path / "out").run_partition(Partition(), workers=0)
    preparation(folder, tmp_path / "out").run_partition(Partition(), workers=0)
    assert len(list((tmp_path / "out" / ".staging").iterdir())) == 1
    monkeypatch.setattr(preprocess, "sha256_of", lambda path: "of another file")
    preparation(folder, tmp_path / "out").run_partition(Partition(), workers=0)
    assert len(list((tmp_path / "out" / ".staging").iterdir())) == 2


def test_a_report_never_lies_beside_the_index_of_another_data_set(tmp_path):
    """Until the new shards are whole the old data set stays as it is; nothing kept takes nothing away."""
    folder, out = tmp_path / "clips", tmp_path / "out"
    folder.mkdir()
    write_video(folder / "a.mp4", [face()] * 20, 25.0)
    prepared(folder, out)
    before = contents(out)
    told = []

    def illustrate(where, report, reported):
        told.append((where, (out / "index.json").exists()))

    with pytest.raises(NothingKeptError):
        preparation(folder, out, min_seconds=5.0).run(0, illustrate)
    assert contents(out) == before
    preparation(folder, out, image_size=32).run(0, illustrate)
    assert told == [(out / ".staging", True), (out / ".staging", True)]


def test_a_report_that_cannot_be_drawn_costs_the_earlier_data_set_nothing(tmp_path):
    folder, out = tmp_path / "clips", tmp_path / "out"
    folder.mkdir()
    write_video(folder / "a.mp4", [face()] * 20, 25.0)
    prepared(folder, out)
    before = contents(out)

    def illustrate(*_):
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        preparation(folder, out, image_size=32).run(0, illustrate)
    assert contents(out) == before


def test_a_staged_file_that_vanishes_is_missed_by_both_ways_to_finish(tmp_path, monkeypatch):
    folder, out = tmp_path / "clips", tmp_path / "out"
    folder.mkdir()
    for name in "ab":
        write_video(folder / f"{name}.mp4", [face()] * 20, 25.0)
    stage_all = preprocess.prepare_all

    def lose_one(tasks, workers):
        stage_all(tasks, workers)
        tasks[0].staged.unlink()

    with monkeypatch.context() as patch:
        patch.setattr(preprocess, "prepare_all", lose_one)
        with pytest.raises(UnfinishedError, match=r"1 of 2 clips are not prepared .*a\.mp4"):
            prepared(folder, out)
    assert prepared(folder, out)["kept"] == 2


def test_what_a_killed_run_left_half_written_goes_with_the_next_whole_one(tmp_path):
    folder, out = tmp_path / "clips", tmp_path / "out"
    folder.mkdir()
    out.mkdir()
    write_video(folder / "a.mp4", [face()] * 20, 25.0)
    for name in (".shard-000000.tar", ".index.json", ".report.html"):
        (out / f"{name}.host.1.partial").touch()
    prepared(folder, out)
    assert sorted(path.name for path in out.iterdir()) == ["index.json", "report.json", "shard-000000.tar"]
