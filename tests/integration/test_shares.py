"""Work that is shared between processes of this machine."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from entries import composed

from aniportrait.cli.shares import run_shares

HERE = Path(__file__).parent


def work(rank, world, device, config):
    """A share in the middle of a long call, in which no signal is heard; its process is named in a file."""
    (Path(config.out) / f"{rank}_of_{world}.started").write_text(str(os.getpid()))
    hashlib.pbkdf2_hmac("sha256", b"", b"", 300_000_000)


def named(rank, world, device, config):
    (Path(config.out) / f"{rank}_of_{world}").touch()


def test_processes_meet_at_a_port_of_their_own(tmp_path):
    before = os.environ.copy()
    with composed("evaluate", "processes=2", f"out={tmp_path}", out=tmp_path) as config:
        run_shares(named, config)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["0_of_2", "1_of_2"]
    assert os.environ == before, "MASTER_PORT would be another launch's"


def main(out):
    with composed("evaluate", "processes=2", f"out={out}", out=out) as config:
        run_shares(work, config)


def running(process):
    """Whether it is there and no zombie that nobody waits for."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(condition, seconds):
    """Wait for it; whether it came true."""
    end = time.monotonic() + seconds
    while not (true := condition()) and time.monotonic() < end:
        time.sleep(0.1)
    return true


def test_processes_end_with_the_one_that_was_killed(tmp_path):
    command = [sys.executable, "-c", f"import test_shares; test_shares.main({str(tmp_path)!r})"]
    paths = os.pathsep.join((str(HERE.parents[1]), str(HERE.parent), str(HERE)))
    parent = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": paths}, stderr=subprocess.PIPE)
    started = [tmp_path / f"{rank}_of_2.started" for rank in range(2)]
    assert until(
        lambda: all(file.is_file() and file.read_text() for file in started) or parent.poll() is not None, 90
    )
    assert parent.poll() is None, parent.communicate()[1].decode()
    workers = [int(file.read_text()) for file in started]
    assert all(running(worker) for worker in workers)
    parent.kill()
    parent.wait()
    ended = until(lambda: not any(running(worker) for worker in workers), 20)
    for worker in filter(running, workers):
        os.kill(worker, signal.SIGKILL)
    assert ended
