"""What the web page's server gives and refuses, asked without a browser."""

import asyncio
import importlib
import io
import json
import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from entries import composed
from scipy.io import wavfile
from stepping_animator import Animator

from aniportrait.cli.web_jobs import Jobs

pytest.importorskip("gradio")
web_page = importlib.import_module("aniportrait.cli.web")

REST = [True, False, 0, 1, "automatic", 1, 1, 1, "exact", 0, 0, 42]
"""Fields after portrait, voice and video, as the page sends them untouched."""


class Server:
    def __init__(self, animator, uploads, port):
        self.animator, self.uploads = animator, uploads
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}/", timeout=20)

    def upload(self, data: bytes, name: str = "face.png") -> httpx.Response:
        return self.client.post("gradio_api/upload", files={"files": (name, data)})

    def voice(self) -> dict:
        buffer = io.BytesIO()
        wavfile.write(buffer, 16_000, np.zeros(8000, np.int16))
        return as_file(self.upload(buffer.getvalue(), "voice.wav").json()[0])

    def join(self, visitor: str, *values) -> httpx.Response:
        body = {"data": list(values), "fn_index": 0, "session_hash": visitor, "trigger_id": None}
        return self.client.post("gradio_api/queue/join", json=body)

    def run(self, *values):
        """What the button does: the last message of the job, or of its refusal."""
        self.join("s", *values).raise_for_status()
        with self.client.stream("GET", "gradio_api/queue/data", params={"session_hash": "s"}) as lines:
            messages = (json.loads(line[5:]) for line in lines.iter_lines() if line.startswith("data:"))
            return next(message for message in messages if message["msg"] == "process_completed")


@contextmanager
def serving(folder: Path, **limits) -> Iterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(folder / "uploads"))
        (folder / "unfinished").mkdir()
        animator = Animator()
        jobs = Jobs(animator, folder / "uploads", folder / "unfinished", longest_seconds=2)
        page = web_page.build_page(jobs, **limits)
        web_page.launch(page, "127.0.0.1", port, largest_megabytes=1)
        yield Server(animator, folder / "uploads", port)
        page.close(verbose=False)


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("web")) as server:
        yield server


@pytest.fixture
def server(started):
    started.animator.asked.clear()
    started.animator.problem = None
    return started


MARK = {"meta": {"_type": "gradio.FileData"}}
"""What the page marks files with, and a made-up message need not."""


def as_file(path, mark=MARK) -> dict:
    return {"path": str(path), **mark}


def test_an_upload_arrives_as_it_was_with_the_label_switched_on(server):
    data = b"no picture that Gradio could open"
    portrait = as_file(server.upload(data).json()[0])
    ended = server.run(portrait, server.voice(), None, *REST)
    assert ended["success"], ended
    (request,) = server.animator.asked
    assert server.animator.portraits == [data]
    assert (request.label, request.paste_back, request.seed) == (True, False, 42)
    assert (request.steps, request.guidance_scale, request.head_pose) == (None, None, None)
    result = ended["output"]["data"][0]
    assert server.client.get(result["url"]).content == b"a video"


def test_the_page_switches_the_label_on_and_tells_what_is_responsible(server):
    config = server.client.get("config").json()
    fields = {part["props"].get("label"): part["props"].get("value") for part in config["components"]}
    assert fields["Write AI-generated on every frame"] is True
    assert "Consent." in json.dumps(config)


@pytest.mark.parametrize("mark", [MARK, {}], ids=["marked", "unmarked"])
@pytest.mark.parametrize("place", range(3))
def test_a_path_of_the_server_is_no_upload(place, mark, server, tmp_path):
    (tmp_path / "secret.png").write_bytes(b"of the server")
    files = [as_file(server.upload(b"a picture").json()[0]), server.voice(), None]
    files[place] = as_file(tmp_path / "secret.png", mark)
    assert not server.run(*files, *REST)["success"]
    assert server.animator.asked == []


def test_files_of_the_server_are_not_served(server, tmp_path):
    for path in (tmp_path / "secret.png", "/etc/hostname", __file__):
        assert server.client.get(f"gradio_api/file={path}").status_code in (403, 404)


def test_a_choice_that_is_not_on_the_page_is_refused(server):
    files = as_file(server.upload(b"a picture").json()[0]), server.voice(), None
    assert not server.run(*files, *REST[:4], "/etc/pose.npz", *REST[5:])["success"]
    assert not server.run(*files, *REST[:8], "warp", *REST[9:])["success"]
    assert server.animator.asked == []


def test_an_upload_above_the_limit_is_refused_and_not_kept(server):
    assert server.upload(b"0" * (2**20 - 1000)).status_code == 200
    before = sorted(server.uploads.rglob("*.png"))
    assert server.upload(b"1" * (2**20 + 1000)).status_code == 413
    assert sorted(server.uploads.rglob("*.png")) == before


def test_uploads_and_results_are_removed_after_their_time(server, tmp_path):
    def files(served: Server) -> set[str]:
        return {file.name for file in served.uploads.rglob("*") if file.is_file()}

    def run(served: Server) -> bool:
        portrait = as_file(served.upload(b"soon gone").json()[0])
        return served.run(portrait, served.voice(), None, *REST)["success"]

    assert run(server)
    assert files(server) >= {"face.png", "voice.wav", "animation.mp4", "landmarks.mp4"}
    with serving(tmp_path, keep_minutes=2 / 60) as forgetful:
        assert any(run(forgetful) for _ in range(9))  # a slow machine can forget them before they are used
        deadline = time.monotonic() + 20
        while files(forgetful):
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_no_more_visitors_wait_than_the_queue_takes(tmp_path):
    with serving(tmp_path, waiting=1) as server:
        files = as_file(server.upload(b"a picture").json()[0]), server.voice(), None
        server.animator.gate.clear()
        try:
            assert server.join("first", *files, *REST).status_code == 200
            while not server.animator.asked:
                time.sleep(0.01)
            assert server.join("second", *files, *REST).status_code == 200
            assert server.join("third", *files, *REST).status_code == 503
            assert len(server.animator.asked) == 1
        finally:
            server.animator.gate.set()


def test_what_is_wrong_is_a_sentence_and_a_bug_tells_nothing(server, caplog):
    files = as_file(server.upload(b"a picture").json()[0]), server.voice(), None
    server.animator.problem = ValueError("portrait face.png shows no face")
    assert server.run(*files, *REST)["output"]["error"] == "portrait face.png shows no face"
    assert "Traceback" not in caplog.text
    server.animator.problem = RuntimeError("shapes of /etc/hostname")
    ended = server.run(*files, *REST)
    assert "Something went wrong" in ended["output"]["error"]
    assert "hostname" not in json.dumps(ended)
    assert "hostname" in caplog.text


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("waiting=0", "waiting (0) must be more than 0"),
        ("longest_seconds=-1", "longest_seconds (-1) must be more than 0"),
        ("keep_minutes=0", "keep_minutes (0) must be more than 0"),
        ("port=70000", "port (70000) must be between 1 and 65535"),
        ("speed=warp", "speed=warp must be one of exact, balanced, fast"),
    ],
)
def test_settings_that_cannot_be_are_told_before_anything_is_loaded(setting, words):
    with (
        composed("web", "weights=absent", setting) as config,
        pytest.raises(ValueError, match=re.escape(words)),
    ):
        web_page.web(config)


@pytest.mark.parametrize(
    ("host", "warned"),
    [("127.0.0.1", False), ("localhost", False), ("::1", False), ("0.0.0.0", True), ("192.168.0.7", True)],
)
def test_who_opens_the_page_to_others_is_warned(host, warned, caplog):
    with (
        composed("web", "weights=absent", f'host="{host}"') as config,
        pytest.raises(OSError, match="absent"),
    ):
        web_page.web(config)
    assert ("whoever reaches this machine" in caplog.text) == warned


def test_addresses_are_not_fetched(tmp_path):
    page = web_page.build_page(Jobs(Animator(), tmp_path, tmp_path, longest_seconds=2))
    fields = [
        block
        for block in page.blocks.values()
        if getattr(block, "elem_id", None) in ("portrait", "voice", "driving")
    ]
    assert len(fields) == 3
    for field in fields:
        with pytest.raises(web_page.gr.Error, match="no file that was uploaded here"):
            asyncio.run(field.async_move_resource_to_block_cache("https://example.invalid/huge.bin"))


def test_a_port_in_use_is_one_sentence(server, tmp_path):
    page = web_page.build_page(Jobs(Animator(), tmp_path, tmp_path, longest_seconds=2))
    port = server.client.base_url.port
    with pytest.raises(OSError, match=f"host=127.0.0.1 port={port} cannot be had"):
        web_page.launch(page, "127.0.0.1", port, 1)


def test_without_gradio_the_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    for name in ("web", "web_fields"):
        monkeypatch.delitem(sys.modules, f"aniportrait.cli.{name}")
    with pytest.raises(OSError, match=re.escape("pip install -e '.[web]'")):
        importlib.import_module("aniportrait.cli.web")
