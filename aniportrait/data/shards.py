"""Shards: tar files that WebDataset reads, an index that says where every byte is, and samples by their
offset.

A sample `key` has four members: `key.mp4` (picture), `key.flac` (sound, if any), `key.npz` (face track and
neutral mesh), `key.json` (ClipMeta). `index.json` is written last: a folder without one is not a data set.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from webdataset.writer import TarWriter

from aniportrait.data.sample_codec import decode_sample, encode_sample
from aniportrait.data.schema import ClipMeta, ClipSample
from aniportrait.data.sound import MediaError
from aniportrait.data.transport import INDEX, Location, transport_of
from aniportrait.data.whole_file import whole_file, write_text

FORMAT = 1
BLOCK = 512


class ShardError(ValueError):
    """A shard or its index that does not hold what it should."""


@dataclass(frozen=True)
class ShardEntry:
    """Where one sample lies, and what must be known of it before it is read.

    Args:
        key, identity, split, source, frames, has_audio: as in ClipMeta.
        shard: file name of the tar.
        members: extension -> (offset, size) in bytes of the member's data in the tar.
        folder: where the data set lies.
    """

    key: str
    identity: str
    split: str
    source: str
    frames: int
    has_audio: bool
    shard: str
    members: dict[str, tuple[int, int]]
    folder: Location = ""


@dataclass(frozen=True)
class ShardIndex:
    """All samples of a data set, in the order of its shards.

    Args:
        folder: where the shards lie.
        fps: frames per second of every sample.
        image_size: side of every (square) picture, pixels.
        fingerprint: of what the data set was made from.
        digest: of the index itself: other samples, other bytes or another order give another one.
    """

    folder: Location
    fps: float
    image_size: int
    samples: tuple[ShardEntry, ...]
    fingerprint: str = ""
    digest: str = ""

    @staticmethod
    def load(folder: Location) -> "ShardIndex":
        path = f"{folder}/{INDEX}"
        try:
            data = transport_of(folder).read(INDEX)
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(
                f"{folder} holds no {INDEX}: it is not a folder of finished shards"
            ) from None
        try:
            content = json.loads(data)
            if content["format"] != FORMAT:
                raise ShardError(f"{path} has format {content['format']}, this version reads format {FORMAT}")
            entries = tuple(_entry(item, folder) for item in content["samples"])
            fps, image_size = float(content["fps"]), int(content["image_size"])
            digest = hashlib.sha256(data).hexdigest()
            return ShardIndex(folder, fps, image_size, entries, content.get("fingerprint", ""), digest)
        except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
            raise ShardError(f"{path} is not an index of shards: {type(error).__name__} {error}") from error

    def of_split(self, split: str) -> tuple[ShardEntry, ...]:
        return tuple(entry for entry in self.samples if entry.split == split)


class ShardWriter:
    """Writes shards of at most `clips_per_shard` samples; they and the index appear when the `with` block
    ends well.

    Which sample is in which shard depends on the order of writing alone, and the same samples give the same
    bytes. Shards of an earlier data set in the folder are replaced.

    Args:
        folder: created if need be.
        fps, image_size: of every sample.
        clips_per_shard: 100 to 500 for real data sets; with fewer shards copying and streaming get slow.
        fingerprint: of whatever the data set was made from; stands in the index.
    """

    def __init__(
        self,
        folder: str | Path,
        fps: float,
        image_size: int,
        clips_per_shard: int = 100,
        fingerprint: str = "",
    ):
        if clips_per_shard < 1:
            raise ValueError(f"clips_per_shard ({clips_per_shard}) must be at least 1")
        self.folder = Path(folder)
        self.fps, self.image_size, self.clips_per_shard = fps, image_size, clips_per_shard
        self.fingerprint = fingerprint
        self._entries: list[dict] = []
        self._keys: set[str] = set()
        self._shards: list[str] = []
        self._files = ExitStack()
        self._writer: TarWriter | None = None

    def __enter__(self) -> "ShardWriter":
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, kind, error, traceback) -> None:
        self._close_shard()
        if kind is None:
            self._publish()
        else:
            self._files.__exit__(kind, error, traceback)

    def retire_index(self) -> None:
        """Call when all is written and before more of the folder is replaced: from here until the `with` block has
        ended the folder is no data set."""
        (self.folder / INDEX).unlink(missing_ok=True)

    def write(self, sample: ClipSample) -> None:
        """Append a sample."""
        self.write_members(sample.meta, encode_sample(sample))

    def write_members(self, meta: ClipMeta, members: dict[str, bytes]) -> None:
        """Append a sample whose members are encoded already (see `encode_sample`)."""
        self._check(meta)
        full = len(self._entries) % self.clips_per_shard == 0
        writer = self._open_shard() if self._writer is None or full else self._writer
        offset = writer.tarstream.offset
        places: dict[str, tuple[int, int]] = {}
        for extension in sorted(members):  # the order in which TarWriter writes them
            size = len(members[extension])
            places[extension] = (offset + BLOCK, size)
            offset += BLOCK + -(-size // BLOCK) * BLOCK
        writer.write({"__key__": meta.key, **members})
        if writer.tarstream.offset != offset:
            raise ShardError(f"sample {meta.key} ends at {writer.tarstream.offset}, expected {offset}")
        self._keys.add(meta.key)
        self._entries.append(
            {
                "key": meta.key,
                "identity": meta.identity,
                "split": meta.split,
                "source": meta.source,
                "frames": meta.frames,
                "has_audio": meta.has_audio,
                "shard": self._shards[-1],
                "members": places,
            }
        )

    def _check(self, meta: ClipMeta) -> None:
        if not meta.key or "." in meta.key or "/" in meta.key or len(meta.key.encode()) > 90:
            raise ValueError(f"key {meta.key!r} must be 1 to 90 bytes without dots and slashes")
        if meta.key in self._keys:
            raise ValueError(f"key {meta.key} occurs twice")
        if abs(meta.fps - self.fps) > 1e-6 or (meta.width, meta.height) != (self.image_size, self.image_size):
            raise ValueError(
                f"sample {meta.key} is {meta.width}x{meta.height} at {meta.fps} fps, this data set "
                f"{self.image_size}x{self.image_size} at {self.fps} fps"
            )

    def _open_shard(self) -> TarWriter:
        self._close_shard()
        self._shards.append(f"shard-{len(self._shards):06d}.tar")
        partial = self._files.enter_context(whole_file(self.folder / self._shards[-1]))
        self._stream = partial.open("wb")
        self._writer = TarWriter(self._stream, encoder=False, mtime=0, user="", group="")
        return self._writer

    def _close_shard(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._stream.flush()
            os.fsync(self._stream.fileno())  # now rather than when the folder is no data set
            self._stream.close()
            self._writer = None

    def _publish(self) -> None:
        self.retire_index()
        self._files.close()
        for stale in set(self.folder.glob("shard-*.tar")) - {self.folder / name for name in self._shards}:
            stale.unlink()
        content = {"format": FORMAT, "fps": self.fps, "image_size": self.image_size}
        content |= {"fingerprint": self.fingerprint, "samples": self._entries}
        write_text(self.folder / INDEX, json.dumps(content, indent=1) + "\n")
        for left in self.folder.glob(".*.partial"):  # of a run that was killed
            left.unlink()


def write_shards(
    samples: Iterable[ClipSample], folder: str | Path, fps: float, image_size: int, clips_per_shard: int = 100
) -> ShardIndex:
    """Write all samples to shards and their index; see ShardWriter."""
    with ShardWriter(folder, fps, image_size, clips_per_shard) as writer:
        for sample in samples:
            writer.write(sample)
    return ShardIndex.load(folder)


def read_member(folder: Location, entry: ShardEntry, extension: str) -> bytes:
    """Bytes of one member, without reading the rest of the shard where the transport allows."""
    if extension not in entry.members:
        raise ShardError(f"sample {entry.key} has no {extension}")
    offset, size = entry.members[extension]
    data = transport_of(folder).read(entry.shard, offset, size)
    if len(data) != size:
        raise ShardError(f"{folder}/{entry.shard} ends before the {extension} of sample {entry.key}")
    return data


def read_sample(folder: Location, entry: ShardEntry) -> ClipSample:
    """One whole sample by its byte offsets."""
    members = {extension: read_member(folder, entry, extension) for extension in entry.members}
    try:
        return decode_sample(members)
    except (KeyError, TypeError, OSError, EOFError, ValueError) as error:
        if isinstance(error, ShardError | MediaError):
            raise
        raise ShardError(f"sample {entry.key} of {entry.shard} cannot be decoded: {error}") from error


def _entry(item: dict, folder: Location) -> ShardEntry:
    members = {extension: (int(place[0]), int(place[1])) for extension, place in item["members"].items()}
    names = ("key", "identity", "split", "source", "frames", "has_audio", "shard")
    # An index may come from anyone, and the name becomes part of a path or of a command.
    if not re.fullmatch(r"\w[\w.-]*", item["shard"]):
        raise ShardError(f"{folder}/{INDEX} names a shard {item['shard']!r}, which is no plain file name")
    return ShardEntry(**{name: item[name] for name in names}, members=members, folder=folder)
