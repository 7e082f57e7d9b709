"""Where clips come from: a list of files with the person each shows and the split each belongs to."""

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")
SPLITS = ("train", "val", "test")


class SourceError(ValueError):
    """A source that names clips it does not have, or none at all."""


@dataclass(frozen=True)
class SourceClip:
    """One clip to prepare.

    Args:
        path: the video file.
        identity: the person it shows.
        split: "train", "val" or "test"; None lets `with_splits` choose.
    """

    path: Path
    identity: str
    split: str | None = None


class Source(Protocol):
    """Lists clips; FolderSource is one."""

    def clips(self) -> list[SourceClip]: ...


class FolderSource:
    """Every video file of a folder (not of the folders in it), in the order of their names.

    Args:
        path: the folder.
        table: a CSV with the column file and, as far as known, identity and split; only its files are taken.
            Without a table every file is an identity.
    """

    def __init__(self, path: str | Path, table: str | Path | None = None):
        self.path = Path(path)
        self.table = Path(table) if table else None

    def clips(self) -> list[SourceClip]:
        if not self.path.exists():
            raise FileNotFoundError(f"folder {self.path} does not exist")
        if not self.path.is_dir():
            raise SourceError(f"{self.path} is not a folder")
        if self.table:
            return with_splits(self._listed(self.table))
        files = sorted(file for file in self.path.iterdir() if _is_video(file))
        if not files:
            raise SourceError(f"folder {self.path} holds no video ({', '.join(VIDEO_SUFFIXES)})")
        return with_splits([SourceClip(file, file.name) for file in files])

    def _listed(self, table: Path) -> list[SourceClip]:
        rows = _rows(table)
        clips = [self._row(table, number, row) for number, row in enumerate(rows, start=2)]
        if missing := [clip.path.name for clip in clips if not clip.path.is_file()]:
            named = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
            raise FileNotFoundError(
                f"{table} names {len(missing)} files that {self.path} does not hold: {named}"
            )
        files = [clip.path for clip in clips]
        if twice := sorted({file.name for file in files if files.count(file) > 1}):
            raise SourceError(f"{table} names {', '.join(twice[:5])} more than once")
        return clips

    def _row(self, table: Path, number: int, row: dict[str, str]) -> SourceClip:
        file, split = row["file"], row.get("split") or None
        if not file:
            raise SourceError(f"{table}, line {number}: file is empty")
        if split is not None and split not in SPLITS:
            raise SourceError(f"{table}, line {number}: split {split!r} must be one of {', '.join(SPLITS)}")
        return SourceClip(self.path / file, row.get("identity") or file, split)


def with_splits(clips: Sequence[SourceClip]) -> list[SourceClip]:
    """Clips whose split is not known get one, the same for all clips of an identity.

    Identities that already have a split keep it. The others are ordered by a hash of their name and shared
    out, about 80 / 10 / 10 % to train / val / test; with three or more to share out, each split gets at least
    one. With fewer, train comes first, then val. An identity in two splits is an error.
    """
    known: dict[str, str] = {}
    for clip in clips:
        if clip.split is not None and known.setdefault(clip.identity, clip.split) != clip.split:
            raise SourceError(
                f"identity {clip.identity} is in two splits, {known[clip.identity]} and {clip.split}"
            )
    unknown = sorted({clip.identity for clip in clips} - set(known), key=_hash)
    held_out = max(1, round(len(unknown) / 10))
    for rank, identity in enumerate(unknown):
        if len(unknown) < 3:
            known[identity] = SPLITS[rank]
        else:
            known[identity] = "val" if rank < held_out else "test" if rank < 2 * held_out else "train"
    return [replace(clip, split=known[clip.identity]) for clip in clips]


def _rows(table: Path) -> list[dict[str, str]]:
    if not table.is_file():
        raise FileNotFoundError(f"table {table} does not exist")
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            rows = [{name: (value or "").strip() for name, value in row.items() if name} for row in reader]
            columns = reader.fieldnames or []
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{table} is not a CSV table ({error})") from error
    if "file" not in columns:
        raise SourceError(f"{table} has no column called file (its first line: {', '.join(columns)})")
    if not rows:
        raise SourceError(f"{table} names no file")
    return rows


def _is_video(file: Path) -> bool:
    return file.suffix.lower() in VIDEO_SUFFIXES and not file.name.startswith(".") and file.is_file()


def _hash(identity: str) -> str:
    return hashlib.sha256(identity.encode()).hexdigest()
