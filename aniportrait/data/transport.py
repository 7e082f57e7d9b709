"""Where the bytes of a data set come from: a folder, what fsspec reads (s3, hf, http, ...), or what a command
prints."""

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import fsspec
from webdataset.gopen import gopen

Location = str | Path
"""A folder, a URL such as s3://bucket/folder, or pipe:COMMAND with {name} where the file's name belongs."""

INDEX = "index.json"
PIPE = "pipe:"
WAITS = (0.5, 2.0)
"""Seconds before another attempt at what a network did not give."""
PACKAGES = {
    "s3": "pip install s3fs",
    "hf": "pip install huggingface_hub",
    "gs": "pip install gcsfs",
}
PACKAGES |= dict.fromkeys(("http", "https"), "pip install 'aniportrait[http]'")


class TransportError(OSError):
    """Bytes that cannot be had for a reason that lies outside of the data: no sample is to blame."""


class Transport(Protocol):
    """Reads files of one location."""

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        """`size` bytes of a file from `offset` on, fewer where the file ends before; all the rest for None.

        A file that is not there is a FileNotFoundError.
        """
        ...


def transport_of(location: Location) -> Transport:
    """The one that reads a location."""
    text = str(location)
    if text.startswith(PIPE):
        return Pipe(text)
    return Remote(text) if "://" in text else Folder(Path(text))


def is_local(location: Location) -> bool:
    """Whether a location is a folder of this machine."""
    return not str(location).startswith(PIPE) and "://" not in str(location)


@dataclass(frozen=True)
class Folder:
    """Files of this machine."""

    path: Path

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        with (self.path / name).open("rb", buffering=0) as stream:
            wanted = os.fstat(stream.fileno()).st_size - offset if size is None else size
            return os.pread(stream.fileno(), wanted, offset)


@dataclass(frozen=True)
class Remote:
    """Files behind a URL, read by byte ranges. Failures are tried again; then they are a TransportError."""

    url: str

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        files, root = _file_system(self.url)
        path = f"{root.rstrip('/')}/{name}"
        span = (
            {}
            if size is None and not offset
            else {"start": offset, "end": None if size is None else offset + size}
        )
        data = self._patiently(lambda: files.cat_file(path, **span), name, WAITS)
        if size is not None and len(data) > size:
            raise TransportError(
                f"{self.url} sends whole files where parts are asked for: download the shards, or read them "
                f"with data.folder='pipe:curl -sf {self.url}/{{name}}'"
            )
        return data

    def _patiently(self, read: Callable[[], bytes], name: str, waits: tuple[float, ...]) -> bytes:
        try:
            return read()
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{self.url} holds no {name}") from error
        except Exception as error:  # every file system has errors of its own
            if not waits:
                reason = f"{type(error).__name__}: {error}"
                raise TransportError(f"{name} of {self.url} cannot be read ({reason})") from error
            time.sleep(waits[0])
            return self._patiently(read, name, waits[1:])


@dataclass(frozen=True)
class Pipe:
    """Files that a command prints. It cannot start in the middle of one: each file is fetched whole, once on this
    machine, and kept in `cache_folder()`, which must have room for the whole data set.

    Args:
        url: pipe:COMMAND, run by the shell, with {name} where the file's name belongs.
    """

    url: str

    def __post_init__(self) -> None:
        if "{name}" not in self.url:
            raise ValueError(f"data.folder={self.url} must say {{name}} where the name of a shard belongs")

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        with self._locked(name):
            if name == INDEX:
                self._renew()
            elif not (self._cache / name).is_file():
                self._keep(name, self._fetched(name))
        return Folder(self._cache).read(name, offset, size)

    @property
    def _cache(self) -> Path:
        return cache_folder() / hashlib.sha256(self.url.encode()).hexdigest()[:16]

    def _renew(self) -> None:
        """Another index means another data set: what was kept of the earlier one goes."""
        index = self._fetched(INDEX)
        kept = self._cache / INDEX
        if kept.is_file() and kept.read_bytes() != index:
            shutil.rmtree(self._cache)
        self._keep(INDEX, index)

    def _fetched(self, name: str) -> bytes:
        command = self.url.replace("{name}", name)
        try:
            with gopen(command, "rb") as stream:
                data = stream.read()
                stream.close()
        except OSError as error:
            raise TransportError(f"the command {command.removeprefix(PIPE)!r} failed") from error
        if not data:
            raise TransportError(f"the command {command.removeprefix(PIPE)!r} printed nothing")
        return data

    def _keep(self, name: str, data: bytes) -> None:
        self._cache.mkdir(parents=True, exist_ok=True)
        partial = self._cache / f".{name}.{os.getpid()}.partial"
        partial.write_bytes(data)
        os.replace(partial, self._cache / name)

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """Loading processes that want the same file at once fetch it once."""
        folder = cache_folder() / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{self._cache.name}.{name}").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def cache_folder() -> Path:
    """Where fetched files are kept: $XDG_CACHE_HOME/aniportrait, or ~/.cache/aniportrait."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aniportrait"


@lru_cache(maxsize=8)
def _file_system(url: str) -> tuple[Any, str]:
    """One for each process: connections do not survive a fork."""
    scheme = url.partition("://")[0]
    try:
        return fsspec.core.url_to_fs(url)
    except ImportError as error:
        advice = PACKAGES.get(scheme, "install the package that fsspec names: " + str(error))
        raise TransportError(f"{url} needs a package that is not installed: {advice}") from error
    except ValueError as error:
        raise TransportError(f"{url} is of no kind that can be read: {error}") from error
