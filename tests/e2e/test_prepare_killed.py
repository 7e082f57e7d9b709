"""SIGKILL at any moment costs no finished clip, and the shards come out the same, byte for byte."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from bright_faces import dark, face, tone

from aniportrait.data.media import write_video

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("prepare_bright_faces.py")


def clips(folder: Path, count: int, seconds: float) -> Path:
    folder.mkdir()
    for number in range(count):
        frames = [face(x=20 + (number + k) % 40) for k in range(round(seconds * 25))]
        write_video(
            folder / f"{number:02d}.mp4", frames if number != 2 else [dark()] * 30, 25.0, tone(seconds)
        )
    (folder / "text.mp4").write_text("no video")
    return folder


def start(folder: Path, out: Path, workers: int) -> subprocess.Popen:
    command = [sys.executable, str(SCRIPT), str(folder), str(out), str(workers)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stderr=subprocess.PIPE, env=environment)


def finish(folder: Path, out: Path, workers: int) -> float:
    """Run to the end; seconds taken."""
    begun = time.monotonic()
    process = start(folder, out, workers)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said.decode()
    return time.monotonic() - begun


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def staged(out: Path) -> dict[str, int]:
    """Name -> time of writing of what is staged; files may vanish under way."""
    found = {}
    for file in (out / ".staging").glob("*.zip"):
        with suppress(FileNotFoundError):
            found[file.name] = file.stat().st_mtime_ns
    return found


def test_a_run_killed_while_it_prepares_goes_on_with_the_clips_that_are_left(tmp_path):
    folder = clips(tmp_path / "clips", 5, 1.0)
    finish(folder, tmp_path / "whole", 0)
    process = start(folder, tmp_path / "out", 0)
    while len(staged(tmp_path / "out")) < 3:
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = staged(tmp_path / "out")
    assert not (tmp_path / "out" / "index.json").exists(), "nobody takes it for a data set"
    again = start(folder, tmp_path / "out", 0)
    seen = dict(before)
    while again.poll() is None:
        seen |= staged(tmp_path / "out")
        time.sleep(0.002)
    again.communicate()
    assert {name: seen[name] for name in before} == before, "no finished clip was done twice"
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.slow
def test_killed_at_twenty_random_moments_the_shards_are_those_of_an_uninterrupted_run(tmp_path):
    """Kills fall on the start, on the clips, on the writing of shards and on the clearing up; workers die as well."""
    folder = clips(tmp_path / "clips", 24, 2.0)
    seconds = finish(folder, tmp_path / "whole", 2)
    generator = np.random.default_rng(0)
    kills = 0
    while kills < 20:
        process = start(folder, tmp_path / "out", 2)
        try:
            process.communicate(timeout=float(generator.uniform(0.1, 1.0)) * seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
        else:
            assert process.returncode == 0
            assert contents(tmp_path / "out") == contents(tmp_path / "whole")
            for file in (tmp_path / "out").iterdir():  # begin anew until all kills are done
                file.unlink()
    finish(folder, tmp_path / "out", 2)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.slow
def test_workers_do_not_outlive_a_killed_parent(tmp_path):
    folder = clips(tmp_path / "clips", 12, 4.0)
    process = start(folder, tmp_path / "out", 2)
    while not staged(tmp_path / "out"):
        assert process.poll() is None
        time.sleep(0.01)
    family = _children(process.pid)
    assert family
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in family) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for pid in family if Path(f"/proc/{pid}").exists()]


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
