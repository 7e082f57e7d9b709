"""Many animations from one CSV: a row each, its columns are settings."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from aniportrait.pipelines.request import HEAD_POSES, Request

FILES = ("portrait", "audio", "driving", "track", "head_pose")
"""Columns whose values may be files: relative ones are looked for beside the list."""


@dataclass(frozen=True)
class Row:
    """A line of a list.

    Args:
        number: of the line, from 1, the header apart.
        settings: name -> value of every column that is not empty, of the types that Request wants.
        out: the file to write.
    """

    number: int
    settings: Mapping[str, Any]
    out: Path


def read_list(path: Path, folder: Path) -> list[Row]:
    """The rows of a CSV whose header names settings of animate.py.

    `out` is where a row's video goes, relative to `folder`: <portrait>_<what drives it>.mp4 where it is left out.

    Raises:
        ValueError: it is no such file, or a value is of the wrong type; FileNotFoundError.
    """
    if not path.is_file():
        raise FileNotFoundError(f"list={path} does not exist")
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, strict=True)
            columns = _columns(reader.fieldnames, path)
            rows = [_row(number, cells, columns, path, folder) for number, cells in enumerate(reader, 1)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"list={path} cannot be read as a CSV in UTF-8 ({error})") from error
    if not rows:
        raise ValueError(f"list={path} has no rows below its header")
    outs = [row.out for row in rows]
    if twice := next((out for out in outs if outs.count(out) > 1), None):
        raise ValueError(f"list={path} writes {twice} more than once: name each in a column out")
    return rows


def _columns(names: Any, path: Path) -> dict[str, type]:
    """Setting -> its type, of the columns of a list."""
    hints = get_type_hints(Request)
    types = {name: _plain_type(kind) for name, kind in hints.items() if name != "guidance_interval"}
    types["out"] = str
    names = [name.strip() for name in names or ()]
    if unknown := [name for name in names if name not in types]:
        raise ValueError(
            f"list={path} has the column {unknown[0]!r}; its header may name {', '.join(sorted(types))}"
        )
    return {name: types[name] for name in names}


def _plain_type(kind: Any) -> type:
    """What a cell is turned into: the first of int, float, bool and str that the setting takes."""
    kinds = set(get_args(kind)) if get_origin(kind) in (Union, type(int | str)) else {kind}
    return next((plain for plain in (bool, int, float) if plain in kinds), str)


def _row(number: int, cells: Mapping[Any, Any], columns: dict[str, type], path: Path, folder: Path) -> Row:
    if None in cells or None in cells.values():
        raise ValueError(f"list={path}, row {number} has not as many cells as the header ({len(columns)})")
    settings: dict[str, Any] = {}
    for name, cell in zip(columns, cells.values(), strict=True):
        if cell.strip():
            settings[name] = _value(name, cell.strip(), columns[name], f"list={path}, row {number}")
    for name in FILES:
        if (value := settings.get(name)) and not (name == "head_pose" and value in HEAD_POSES):
            settings[name] = path.parent / value
    # no number: a list that is sorted anew means the same videos
    stems = [Path(settings[name]).stem for name in FILES[:4] if name in settings]
    out = folder / settings.pop("out", f"{'_'.join(stems) or 'animation'}.mp4")
    return Row(number, settings, out)


def _value(name: str, cell: str, kind: type, where: str) -> Any:
    try:
        if kind is bool:
            return {"true": True, "false": False}[cell.lower()]
        return kind(cell)
    except (ValueError, KeyError) as error:
        raise ValueError(f"{where}: {name}={cell} must be {_name_of(kind)}") from error


def _name_of(kind: type) -> str:
    return {bool: "true or false", int: "a whole number", float: "a number"}[kind]
