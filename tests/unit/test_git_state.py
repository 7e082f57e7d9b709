"""The code a run was of is found again: commit, difference, names of what git does not know."""

import json
import subprocess

import pytest

from aniportrait.cli.git_state import save_git_state


def git(folder, *arguments):
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "code"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "model.py").write_text("width = 1\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    return folder


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def test_a_clean_checkout_is_its_commit_and_an_earlier_difference_goes(checkout, run):
    (run / "git.diff").write_text("of an earlier run")
    state = save_git_state(run, checkout)
    assert state == {"commit": git(checkout, "rev-parse", "HEAD").strip(), "dirty": False, "untracked": []}
    assert json.loads((run / "git.json").read_text()) == state
    assert not (run / "git.diff").exists()


def test_the_difference_of_a_changed_checkout_makes_its_files_again(checkout, run, tmp_path):
    (checkout / "model.py").write_text("width = 2\n")
    (checkout / "new file.py").write_text("")
    state = save_git_state(run, checkout)
    assert state["dirty"]
    assert state["untracked"] == ["new file.py"]
    git(tmp_path, "clone", "-q", str(checkout), "again")
    git(tmp_path / "again", "apply", str(run / "git.diff"))
    assert (tmp_path / "again" / "model.py").read_text() == "width = 2\n"


def test_outside_of_a_checkout_nothing_is_kept(run, tmp_path):
    assert save_git_state(run, tmp_path) == {}
    assert list(run.iterdir()) == []


def test_a_checkout_that_git_cannot_read_is_said_and_the_run_goes_on(run, tmp_path, caplog):
    (tmp_path / ".git").write_text("gitdir: nowhere\n")
    assert save_git_state(run, tmp_path) == {}
    assert "is not kept: fatal: not a git repository" in caplog.text
