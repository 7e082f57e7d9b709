"""A folder of videos, with or without a table that says who is who."""

import csv
from collections import Counter
from pathlib import Path

from aniportrait.data.sources import (
    SPLITS,
    VIDEO_SUFFIXES,
    SourceClip,
    SourceError,
    existing_folder,
    with_splits,
)

TIMES = ("begin", "end")


class FolderSource:
    """Every video file of a folder (not of the folders in it), in the order of their names.

    Args:
        path: the folder.
        table: a CSV with the column file and, as far as known, identity, split, video (the recording a clip
            is cut from), begin and end (seconds); only its files are taken. Without a table every file is an
            identity.
    """

    def __init__(self, path: str | Path, table: str | Path | None = None):
        self.path = Path(path)
        self.table = Path(table) if table else None

    def clips(self) -> list[SourceClip]:
        existing_folder(self.path)
        if self.table:
            return with_splits(self._listed(self.table))
        files = sorted(file for file in self.path.iterdir() if _is_video(file))
        if not files:
            raise SourceError(f"folder {self.path} holds no video ({', '.join(VIDEO_SUFFIXES)})")
        return with_splits([SourceClip(file, file.name) for file in files])

    def _listed(self, table: Path) -> list[SourceClip]:
        clips = [self._row(table, number, row) for number, row in _rows(table)]
        if missing := list(dict.fromkeys(clip.path.name for clip in clips if not clip.path.exists())):
            named = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
            raise FileNotFoundError(
                f"{table} names {len(missing)} files that {self.path} does not hold: {named}"
            )
        sections = Counter((clip.path, clip.begin, clip.end) for clip in clips)
        if twice := sorted(path.name for (path, _, _), count in sections.items() if count > 1):
            raise SourceError(f"{table} names {', '.join(twice[:5])} more than once")
        return clips

    def _row(self, table: Path, number: int, row: dict[str, str]) -> SourceClip:
        file, split = row["file"], row.get("split") or None
        if not file:
            raise SourceError(f"{table}, line {number}: file is empty")
        if split is not None and split not in SPLITS:
            raise SourceError(f"{table}, line {number}: split {split!r} must be one of {', '.join(SPLITS)}")
        begin, end = (_seconds(table, number, name, row.get(name, "")) for name in TIMES)
        video, name = row.get("video") or Path(file).as_posix(), None
        if begin is not None or end is not None:
            name = f"{Path(file).stem}-{begin or 0:g}s"
        try:
            identity = row.get("identity") or video
            return SourceClip(self.path / file, identity, split, name, video, begin or 0.0, end)
        except ValueError as error:
            raise SourceError(f"{table}, line {number}: {error}") from error


def _seconds(table: Path, number: int, name: str, text: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError as error:
        raise SourceError(f"{table}, line {number}: {name} {text!r} must be seconds") from error


def _rows(table: Path) -> list[tuple[int, dict[str, str]]]:
    """Line and cells by column; blanks around either and capitals of a column's name do not count."""
    if not table.is_file():
        raise FileNotFoundError(f"table {table} does not exist")
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            columns = [(name or "").strip().lower() for name in reader.fieldnames or []]
            reader.fieldnames = columns
            rows = [
                (reader.line_num, {name: (value or "").strip() for name, value in row.items() if name})
                for row in reader
            ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{table} is not a CSV table ({error})") from error
    if "file" not in columns:
        raise SourceError(f"{table} has no column called file (its first line: {', '.join(columns)})")
    if not rows:
        raise SourceError(f"{table} names no file")
    return rows


def _is_video(file: Path) -> bool:
    return file.suffix.lower() in VIDEO_SUFFIXES and not file.name.startswith(".") and file.is_file()
