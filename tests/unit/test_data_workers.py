"""The processes that prepare clips: one that dies costs its own clip only, and what is no clip's fault is none's."""

import json
import multiprocessing
import os
import time
from pathlib import Path

import pytest
from bright_faces import bright_faces, face, preparation, prepared

from aniportrait.data import workers
from aniportrait.data.clip_preparation import PreparationSettings
from aniportrait.data.media import write_video
from aniportrait.data.piece import Piece
from aniportrait.data.preprocess import NothingKeptError, Partition
from aniportrait.data.sources import SourceClip
from aniportrait.data.staging import outcomes, stage
from aniportrait.data.workers import Task, WorkerError, prepare_all
from aniportrait.face.detector import MissingLibraryError


def tasks(folder: Path, *names: str) -> list[Task]:
    """One for each name, of a file that is there and holds nothing."""
    for name in names:
        (folder / f"{name}.mp4").touch()
    return [
        Task(
            SourceClip(folder / f"{name}.mp4", name), PreparationSettings(), Path("x"), folder / f"{name}.zip"
        )
        for name in names
    ]


def reasons(done: list[Task]) -> dict[str, str]:
    found = {task.clip.path.stem: outcomes(task.staged) for task in done}
    return {name: outcome[0].reason or "kept" for name, outcome in found.items() if outcome}


def ready(task_file):
    """In a worker: needs nothing."""


def die(task_file):
    os._exit(9)


def stage_or_die(task):
    """In a worker: dies of a killer each time, of a victim once, as from lack of memory; of two bystanders each waits
    until the other one is being prepared as well."""
    name, begun = task.clip.path.stem, task.staged.with_suffix(".begun")
    first = not begun.exists()
    begun.touch()
    if name.startswith("killer") or (name.startswith("victim") and first):
        os._exit(9)
    deadline = time.monotonic() + 60
    while name.startswith("bystander") and len(list(begun.parent.glob("bystander*.begun"))) < 2:
        assert time.monotonic() < deadline, "one clip at a time"
        time.sleep(0.05)
    stage(task.staged, [Piece(reason="seen")])


@pytest.mark.slow
def test_a_process_that_dies_costs_its_own_clip_only_and_that_one_is_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "_make_ready", ready)
    monkeypatch.setattr(workers, "_stage", stage_or_die)
    listed = tasks(tmp_path, "killer", "victim", "bystander1", "bystander2", "last")
    prepare_all(listed, 2)
    killed = "the process that read it was killed, twice (out of memory?)"
    others = dict.fromkeys(("victim", "bystander1", "bystander2", "last"), "seen")
    assert reasons(listed) == {"killer": killed, **others}
    failed = [task.clip.path.stem for task in listed if (outcomes(task.staged) or [])[0].failed]
    assert failed == ["killer"], "nothing is known against it: the next run tries again"


@pytest.mark.slow
def test_processes_that_die_before_any_clip_blame_none(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "_make_ready", die)
    monkeypatch.setattr(workers, "_stage", stage_or_die)
    listed = tasks(tmp_path, "a", "b")
    with pytest.raises(WorkerError, match="died before it began with one"):
        prepare_all(listed, 2)
    assert reasons(listed) == {}


def test_a_start_method_that_spawned_processes_do_not_know_is_forgotten(monkeypatch):
    """joblib's processes have its own, "loky", as multiprocessing's default."""
    set_to = []
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none: "loky")
    monkeypatch.setattr(multiprocessing, "set_start_method", lambda *method, force: set_to.append(method))
    workers._forget_foreign_start_method()
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none: "fork")
    workers._forget_foreign_start_method()
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none: None)
    workers._forget_foreign_start_method()
    assert set_to == [("spawn",)]


def two_clips(folder: Path) -> Path:
    folder.mkdir()
    for name in "ab":
        write_video(folder / f"{name}.mp4", [face()] * 20, 25.0)
    return folder


@pytest.mark.usefixtures(bright_faces.__name__)
@pytest.mark.parametrize(
    "error",
    [MissingLibraryError("libEGL.so.1 is missing"), ModuleNotFoundError("no module named scenedetect")],
)
def test_what_is_missing_on_this_machine_ends_the_run_and_drops_no_clip(tmp_path, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(workers, "prepare_clip", fail)
    with pytest.raises(type(error), match=str(error)):
        prepared(two_clips(tmp_path / "clips"), tmp_path / "out")
    assert list((tmp_path / "out" / ".staging").iterdir()) == []


@pytest.mark.usefixtures(bright_faces.__name__)
def test_a_landmarker_that_cannot_be_loaded_ends_the_run_and_drops_no_clip(tmp_path, monkeypatch):
    def fail(task_file):
        raise RuntimeError("not a bundle")

    monkeypatch.setattr(workers, "_landmarker", fail)
    with pytest.raises(RuntimeError, match="not a bundle"):
        prepared(two_clips(tmp_path / "clips"), tmp_path / "out")
    assert list((tmp_path / "out" / ".staging").iterdir()) == []


def broken_for(name: str, monkeypatch) -> list[str]:
    """A library that fails in a clip; the list fills with the names of the clips that are prepared."""
    seen, original = [], workers.prepare_clip

    def prepare_or_fail(clip, *rest):
        seen.append(clip.path.stem)
        if clip.path.stem == name:
            raise RuntimeError("a bug in a library")
        return original(clip, *rest)

    monkeypatch.setattr(workers, "prepare_clip", prepare_or_fail)
    return seen


@pytest.mark.usefixtures(bright_faces.__name__)
def test_a_clip_that_fails_unexpectedly_is_named_and_tried_again_by_the_next_run(
    tmp_path, monkeypatch, caplog
):
    folder, out = two_clips(tmp_path / "clips"), tmp_path / "out"
    with monkeypatch.context() as patch:
        broken_for("a", patch)
        report = prepared(folder, out)
    assert report["dropped"] == [
        {
            "clip": str(folder / "a.mp4"),
            "reason": "unexpected RuntimeError: a bug in a library",
            "figures": {},
        }
    ]
    assert (report["kept"], report["failed"]) == (1, 1)
    assert "1 clips failed for reasons that are not theirs" in caplog.text
    seen = broken_for("none", monkeypatch)
    again = prepared(folder, out)
    assert seen == ["a"], "the other one is not done twice"
    assert (again["kept"], again["failed"], again["dropped"]) == (2, 0, [])
    assert not (out / ".staging").exists()
    prepared(folder, tmp_path / "whole")
    for path in (tmp_path / "whole").iterdir():
        assert path.read_bytes() == (out / path.name).read_bytes()


@pytest.mark.usefixtures(bright_faces.__name__)
def test_a_failure_that_is_there_to_stay_ends_with_the_staged_clips(tmp_path, monkeypatch):
    folder, out = two_clips(tmp_path / "clips"), tmp_path / "out"
    seen = broken_for("a", monkeypatch)
    preparation(folder, out).run_partition(Partition(), workers=0)
    report = preparation(folder, out).merge(workers=0)
    assert seen == ["a", "b", "a"], "the merge has tried it once more"
    assert report["failed"] == 1, "a failure does not keep the others from being used"
    for file in (out / ".staging").iterdir():
        file.unlink()
    (out / ".staging").rmdir()
    seen.clear()
    assert prepared(folder, out) == report
    assert seen == []


@pytest.mark.usefixtures(bright_faces.__name__)
def test_a_source_whose_every_clip_fails_is_tried_again(tmp_path, monkeypatch):
    folder = two_clips(tmp_path / "clips")
    (folder / "b.mp4").unlink()
    with monkeypatch.context() as patch:
        broken_for("a", patch)
        with pytest.raises(NothingKeptError, match="unexpected RuntimeError"):
            prepared(folder, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "report.json").read_text())["failed"] == 1
    assert prepared(folder, tmp_path / "out")["kept"] == 1


def test_files_that_are_no_film_promise_none(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    write_video(tmp_path / "film.mp4", [face()] * 50, 25.0)
    listed = tasks(tmp_path, "text", "film", "empty")
    assert [task.seconds for task in listed] == [0.0, 2.0, 0.0]


def test_clips_that_are_missing_promise_no_film_and_progress_still_ends(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(workers, "_stage", lambda task: None)
    listed = [
        Task(SourceClip(tmp_path / "gone.mp4", "p"), PreparationSettings(), Path("x"), tmp_path / "g.zip")
    ]
    assert listed[0].seconds == 0.0
    prepare_all(listed, 0)
    assert "1 of 1 clips" in capsys.readouterr().err
