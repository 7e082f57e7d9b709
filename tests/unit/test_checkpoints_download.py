"""Downloads go on where they broke off, and nothing arrives whose sum is wrong; the hub is a server on this machine."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from aniportrait.checkpoints import download
from aniportrait.checkpoints.download import ANIMATING, TRAINING, DownloadError, RemoteFile, download_files
from aniportrait.checkpoints.frozen_encoders import ENCODERS
from aniportrait.checkpoints.published import FILES as FILES_TO_IMPORT

WEIGHTS, CARD = bytes(range(256)) * 4000, b'{"sample_size": 64}\n'
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
BLOB = hashlib.sha1(b"blob %d\0" % len(CARD) + CARD).hexdigest()


class Hub(BaseHTTPRequestHandler):
    """Two files: weights.pth as the hub keeps large ones (sum in X-Linked-Etag), config.json as it keeps small ones."""

    sent: list[tuple[str, str | None]]
    stated: str
    breaks: bool

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        type(self).sent.append((self.path.rsplit("/", 1)[1], self.headers.get("Range")))
        self.answer(body=True)

    def answer(self, body):
        large = self.path == "/owner/name/resolve/main/weights.pth"
        if not large and self.path != "/owner/name/resolve/main/config.json":
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.end_headers()
            return
        content = WEIGHTS if large else CARD
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if large:  # as the hub: the storage's own tag beside the file's sum
            self.send_header("X-Linked-Etag", f'"{self.stated}"')
            self.send_header("X-Linked-Size", str(len(content)))
        self.send_header("ETag", '"of the storage"' if large else f'"{BLOB}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.end_headers()
        if body:
            self.wfile.write(content[start:-1000] if self.breaks and large else content[start:])

    def log_message(self, *args):
        pass


@pytest.fixture
def hub():
    Hub.sent, Hub.stated, Hub.breaks = [], SHA256, False
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


FILES = (
    RemoteFile("owner/name", "config.json", "sub/config.json"),
    RemoteFile("owner/name", "weights.pth", "weights.pth"),
)


def test_files_arrive_at_their_places_and_no_half_stays(hub, tmp_path):
    download_files(FILES, tmp_path, hub)
    assert (tmp_path / "weights.pth").read_bytes() == WEIGHTS
    assert (tmp_path / "sub" / "config.json").read_bytes() == CARD
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        "config.json",
        "weights.pth",
    ]


def test_what_is_there_already_is_not_fetched_again(hub, tmp_path):
    download_files(FILES, tmp_path, hub)
    Hub.sent.clear()
    download_files(FILES, tmp_path, hub)
    assert Hub.sent == []


def test_half_a_file_is_completed_from_where_it_ends(hub, tmp_path):
    half = len(WEIGHTS) // 2
    (tmp_path / f"weights.pth.{SHA256[:12]}.part").write_bytes(WEIGHTS[:half])
    download_files(FILES, tmp_path, hub)
    assert ("weights.pth", f"bytes={half}-") in Hub.sent
    assert (tmp_path / "weights.pth").read_bytes() == WEIGHTS


def test_more_than_a_file_is_no_half_of_it(hub, tmp_path):
    (tmp_path / f"weights.pth.{SHA256[:12]}.part").write_bytes(WEIGHTS + b"of another answer")
    download_files(FILES, tmp_path, hub)
    assert (tmp_path / "weights.pth").read_bytes() == WEIGHTS


def test_a_download_that_breaks_off_keeps_its_half_and_goes_on_next_time(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)  # what is lost at most
    Hub.breaks = True
    with pytest.raises(DownloadError, match=r"weights.pth broke off: .*run the same command again"):
        download_files(FILES, tmp_path, hub)
    assert not (tmp_path / "weights.pth").exists()
    arrived = len(WEIGHTS) - 1000
    assert (tmp_path / f"weights.pth.{SHA256[:12]}.part").stat().st_size == arrived
    Hub.breaks, Hub.sent = False, []
    download_files(FILES, tmp_path, hub)
    assert ("weights.pth", f"bytes={arrived}-") in Hub.sent
    assert (tmp_path / "weights.pth").read_bytes() == WEIGHTS


def test_a_file_with_a_wrong_sum_is_removed(hub, tmp_path):
    Hub.stated = "ab" * 32
    with pytest.raises(
        DownloadError, match=rf"weights.pth arrived damaged \(sum {SHA256}, not {'ab' * 32}\)"
    ):
        download_files(FILES, tmp_path, hub)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["config.json"]


def test_a_damaged_file_from_before_is_named_and_left_alone(hub, tmp_path):
    (tmp_path / "weights.pth").write_bytes(b"mine")
    with pytest.raises(DownloadError, match=r"weights.pth has the sum .*delete it"):
        download_files(FILES, tmp_path, hub)
    assert (tmp_path / "weights.pth").read_bytes() == b"mine"


def test_a_file_that_upstream_replaced_is_refused_before_it_is_fetched(hub, tmp_path):
    pinned = RemoteFile("owner/name", "weights.pth", "weights.pth", sha256="cd" * 32)
    with pytest.raises(DownloadError, match="it was replaced"):
        download_files([pinned], tmp_path, hub)
    assert Hub.sent == []


def test_an_absent_file_and_an_absent_network_are_one_sentence(hub, tmp_path):
    with pytest.raises(DownloadError, match=r"owner/name/resolve/main/other.pth is out of reach"):
        download_files([RemoteFile("owner/name", "other.pth", "other.pth")], tmp_path, hub)
    with pytest.raises(DownloadError, match=r"http://127.0.0.1:9/owner/name.* is out of reach"):
        download_files(FILES, tmp_path, "http://127.0.0.1:9")


def test_where_a_file_lies_is_asked_for_again_when_its_turn_comes(hub, tmp_path, monkeypatch):
    asked, fetched = [], []
    metadata, get = download.get_hf_file_metadata, download.http_get

    def ask(url, **kwargs):
        asked.append(url.rsplit("/", 1)[1])
        return metadata(url, **kwargs)

    def fetch(url, *args, **kwargs):
        fetched.append(asked.copy())
        return get(url, *args, **kwargs)

    monkeypatch.setattr(download, "get_hf_file_metadata", ask)
    monkeypatch.setattr(download, "http_get", fetch)
    download_files(FILES, tmp_path, hub)
    names = ["config.json", "weights.pth"]
    assert fetched == [[*names, "config.json"], [*names, "config.json", "weights.pth"]]


def test_what_is_imported_is_downloaded():
    places = {file.place for file in ANIMATING}
    assert {row.names[0] for row in FILES_TO_IMPORT.values()} <= places
    for encoder in ENCODERS.values():
        assert any(place.startswith(f"{encoder.folder}/") for place in places)


def test_no_two_files_share_a_place_and_pinned_sums_are_sha256():
    files = (*ANIMATING, *TRAINING)
    assert len({file.place for file in files}) == len(files)
    assert all(len(file.sha256) == 64 for file in files if file.sha256)
