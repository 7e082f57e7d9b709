"""The clips that an evaluation list names."""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from aniportrait.data.schema import PIECE, key_of_title
from aniportrait.data.shards import ShardEntry


class ListedClips(NamedTuple):
    """What a data set has of a list.

    Args:
        found: in the list's order, and for one source in the order of its clips; no clip twice.
        missing: ids for which it has nothing.
    """

    found: tuple[ShardEntry, ...]
    missing: tuple[str, ...]


def clips_of_sources(
    entries: Sequence[ShardEntry], sources: Sequence[str] | None, clips_per_source: int | None = None
) -> ListedClips:
    """The entries that belong to the listed sources.

    An id is the title of a clip as its source gives it (HDTF: WDA_BarackObama_0, CelebV-HQ: a key of its JSON,
    VFHQ: the name of a meta file) and means all its pieces; or, where no clip is called so, a recording:
    `ShardEntry.source`, in these three sets a YouTube id. Clips that share a title have hashes in their keys:
    only their recording finds them.

    Args:
        entries: of an index, perhaps of one split alone.
        sources: ids; None: every recording there is.
        clips_per_source: how many of each at most, the first ones; None: all.

    Raises:
        ValueError: an id is listed twice, or clips_per_source is less than 1.
    """
    if clips_per_source is not None and clips_per_source < 1:
        raise ValueError(f"clips_per_source ({clips_per_source}) must be at least 1")
    recordings = _grouped(entries, lambda entry: entry.source)
    titles = _grouped(entries, lambda entry: entry.key.partition(PIECE)[0])
    named = recordings
    if sources is not None:
        named = {name: titles.get(key_of_title(name)) or recordings.get(name, []) for name in sources}
        if len(named) < len(sources):
            twice = sorted({name for name in sources if sources.count(name) > 1})
            raise ValueError(f"the list names {', '.join(twice)} twice")
    chosen = [entry for clips in named.values() for entry in sorted(clips, key=_order)[:clips_per_source]]
    found = {(entry.folder, entry.key): entry for entry in chosen}
    return ListedClips(tuple(found.values()), tuple(name for name, clips in named.items() if not clips))


def _grouped(
    entries: Sequence[ShardEntry], name_of: Callable[[ShardEntry], str]
) -> dict[str, list[ShardEntry]]:
    groups: dict[str, list[ShardEntry]] = {}
    for entry in entries:
        groups.setdefault(name_of(entry), []).append(entry)
    return groups


def _order(entry: ShardEntry) -> list[str | int]:
    """Piece 10 comes after piece 2."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", entry.key)]
