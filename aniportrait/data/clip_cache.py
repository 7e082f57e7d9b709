"""Clips on their way from a shard into memory, and the ones that stay there."""

import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from aniportrait.data.shards import ShardEntry, ShardError
from aniportrait.data.transport import TransportError

UNREADABLE = (ShardError, ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error)
"""What a damaged sample raises on its way from bytes to arrays."""


class ClipCache:
    """Keeps what was read of the clips used last, up to a number of bytes.

    Args:
        size: bytes; 0 keeps nothing.
    """

    def __init__(self, size: int):
        self.size = size
        self._held = 0
        self._clips: OrderedDict[Hashable, dict[str, Any]] = OrderedDict()

    def clip(self, entry: ShardEntry, read: Callable[[ShardEntry], dict[str, Any]]) -> dict[str, Any]:
        """What `read` gives for the entry, now or earlier."""
        name = (entry.folder, entry.key)
        if name in self._clips:
            self._clips.move_to_end(name)
            return self._clips[name]
        clip = readable(entry, lambda: read(entry))
        self._clips[name] = clip
        self._held += _size(clip)
        while self._held > self.size and self._clips:
            self._held -= _size(self._clips.popitem(last=False)[1])
        return clip


def readable(entry: ShardEntry, read: Callable[[], Any]) -> Any:
    """What `read` gives; whatever a damaged sample makes it raise becomes a ShardError that names the sample.

    A TransportError stays one: a network that is down damages nothing.
    """
    try:
        return read()
    except TransportError:
        raise
    except UNREADABLE as error:
        reason = str(error) if isinstance(error, ShardError) else f"{type(error).__name__}: {error}"
        raise ShardError(f"sample {entry.key} of {entry.shard} cannot be read ({reason})") from error


def check_lengths(entry: ShardEntry, clip: dict[str, np.ndarray], names: Sequence[str]) -> None:
    """A ShardError unless the named arrays have an entry for each frame."""
    for name in names:
        if len(clip[name]) != entry.frames:
            raise ShardError(f"{name} holds {len(clip[name])} frames, the index says {entry.frames}")


def _size(clip: dict[str, Any]) -> int:
    return sum(value.nbytes if isinstance(value, np.ndarray) else len(value) for value in clip.values())
