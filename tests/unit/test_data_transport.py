"""Shards from anywhere: byte ranges over http and fsspec, whole files through a pipe, clear words where it fails."""

import pickle
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pytest
from drawn_clips import clip

from aniportrait.data import transport
from aniportrait.data.shards import ShardError, ShardIndex, read_sample, write_shards
from aniportrait.data.speech_data import SpeechData
from aniportrait.data.transport import TransportError, cache_folder, is_local, transport_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("shards")
    write_shards([clip(f"t{k}", 10 + k) for k in range(4)], path, 25.0, 32, clips_per_shard=2)
    return path


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(transport, "WAITS", (0.0,))


class Served:
    """A web server over a folder; knows byte ranges, or does not. Notes what it sent; can break down."""

    def __init__(self, folder, ranges=True):
        self.sent, self.failures = [], 0
        served = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                if served.failures > 0:
                    served.failures -= 1
                    return self.send_error(503)
                file = folder / self.path.lstrip("/")
                if not file.is_file():
                    return self.send_error(404)
                data, status = file.read_bytes(), 200
                asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
                if asked and ranges:
                    data, status = data[int(asked[1]) : int(asked[2]) + 1], 206
                served.sent.append((self.path, len(data)))
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
                return None

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def check_equal(location, folder):
    index, local = ShardIndex.load(location), ShardIndex.load(folder)
    assert [entry.key for entry in index.samples] == [f"t{k}" for k in range(4)]
    assert index.digest == local.digest
    for entry, original in zip(index.samples, local.samples, strict=True):
        assert read_sample(location, entry).video == read_sample(folder, original).video


def test_http_is_read_by_byte_ranges(folder):
    with Served(folder) as served:
        check_equal(served.url, folder)
        whole = (folder / "shard-000000.tar").stat().st_size
        assert all(size < whole for path, size in served.sent if path.endswith(".tar"))


def test_a_server_that_hiccups_is_asked_again_and_one_that_is_down_damages_no_sample(folder):
    with Served(folder) as served:
        data = SpeechData(served.url, batch_size=2, window_frames=8)
        entry = data.indexes[0].samples[0]
        served.failures = 1
        assert read_sample(served.url, entry).meta.key == "t0"
        served.failures = 1000
        with pytest.raises(TransportError, match=r"shard-00000\d\.tar of http.* cannot be read"):
            next(iter(data.train_dataloader()))


def test_a_server_without_byte_ranges_is_said_to_be_one(folder):
    with Served(folder, ranges=False) as served:
        index = ShardIndex.load(served.url)
        with pytest.raises(TransportError, match=r"sends whole files .*pipe:curl"):
            read_sample(served.url, index.samples[0])


def test_what_fsspec_reads_can_be_trained_on(folder):
    files = fsspec.filesystem("memory")
    for path in folder.iterdir():
        files.pipe_file(f"/bucket/{path.name}", path.read_bytes())
    check_equal("memory://bucket", folder)
    keys = next(iter(SpeechData("memory://bucket", batch_size=4, window_frames=8).train_dataloader())).keys
    assert keys == next(iter(SpeechData(folder, batch_size=4, window_frames=8).train_dataloader())).keys


def test_a_pipe_is_read_whole_once_and_no_shard_twice(folder, tmp_path):
    counter = tmp_path / "count"
    location = f"pipe:echo {{name}} >> {counter}; cat '{folder}/{{name}}'"
    check_equal(location, folder)
    check_equal(location, folder)
    fetched = counter.read_text().split()
    assert fetched.count("shard-000000.tar") == fetched.count("shard-000001.tar") == 1
    assert any(path.name == "shard-000001.tar" for path in cache_folder().glob("*/*"))


def test_another_data_set_behind_a_pipe_replaces_what_was_kept(tmp_path):
    location = f"pipe:cat '{tmp_path}/shards/{{name}}'"
    for key in ("first", "second"):
        write_shards([clip(key, 8)], tmp_path / "shards", 25.0, 32)
        index = ShardIndex.load(location)
        assert read_sample(location, index.samples[0]).meta.key == key


def test_loading_processes_read_through_pipes_too(folder):
    data = SpeechData(f"pipe:cat '{folder}/{{name}}'", batch_size=2, window_frames=8, num_workers=2)
    stream = iter(data.train_dataloader())
    assert sorted(next(stream).keys + next(stream).keys) == [f"t{k}" for k in range(4)]


@pytest.mark.parametrize(
    ("location", "error", "said"),
    [
        ("pipe:cat {name}; exit 3", TransportError, "command .* failed"),
        ("pipe:true {name}", TransportError, "printed nothing"),
        ("pipe:cat index.json", ValueError, r"must say \{name\}"),
        ("s3://bucket/shards", TransportError, "pip install s3fs"),
        ("wrong://bucket", TransportError, "no kind that can be read"),
        ("memory://empty", FileNotFoundError, r"no index\.json"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_sentence(location, error, said, monkeypatch):
    if location.startswith("s3"):
        monkeypatch.setitem(sys.modules, "s3fs", None)  # as if it were not installed
    with pytest.raises(error, match=said):
        ShardIndex.load(location)


def test_an_index_cannot_reach_out_of_its_folder_or_into_the_shell(folder, tmp_path):
    for name in ("../secret.tar", "a;reboot", ".hidden", ""):
        text = (folder / "index.json").read_text().replace("shard-000000.tar", name)
        (tmp_path / "index.json").write_text(text)
        with pytest.raises(ShardError, match="no plain file name"):
            ShardIndex.load(tmp_path)


def test_transports_can_be_sent_to_other_processes_and_folders_are_local():
    for location in ("/a/b", "s3://a/b", "pipe:cat {name}"):
        assert pickle.loads(pickle.dumps(transport_of(location))) == transport_of(location)
    assert [is_local(place) for place in ("/a", "a b", "hf://datasets/x/y", "pipe:cat {name}")] == [
        True, True, False, False,
    ]  # fmt: skip
