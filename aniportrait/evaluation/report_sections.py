"""What a report is made of: tables of scores, curves, pictures, videos, words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from aniportrait.evaluation.scores import Score


@dataclass(frozen=True)
class Column:
    """What a table's column measures; the better direction stands in its head and decides what is marked."""

    name: str
    unit: str = ""
    higher_is_better: bool | None = None
    digits: int = 3


@dataclass(frozen=True)
class Row:
    """One system's figures.

    Args:
        name: the system.
        cells: one per column after the first: a Score, a number, words, or None for "not measured".
        kind: "ours" and "baseline" compete for the best mark; a "control" is expected to be worse (a swapped
            input), a "bound" is what nothing can beat (the noise floor, the truth itself).
    """

    name: str
    cells: Sequence[Score | float | str | None]
    kind: Literal["ours", "baseline", "control", "bound"] = "ours"


@dataclass(frozen=True)
class Table:
    """Systems down, metrics across."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    note: str = ""

    def __post_init__(self):
        for row in self.rows:
            if len(row.cells) != len(self.columns):
                raise ValueError(
                    f"row {row.name!r} of table {self.title!r} has {len(row.cells)} cells "
                    f"for {len(self.columns)} columns"
                )


@dataclass(frozen=True)
class Curves:
    """Lines over a common axis.

    Args:
        lines: name -> steps and values, equally long.
        levels: name -> value: dashed horizontal lines, for baselines.
        smooth: points in the running mean drawn over a thin line of the values; 1, or a line of fewer than
            four times as many points, shows the values alone.
    """

    title: str
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    levels: Mapping[str, float] = field(default_factory=dict)
    x_label: str = "step"
    y_label: str = ""
    y_scale: Literal["linear", "log"] = "linear"
    smooth: int = 1
    note: str = ""

    def __post_init__(self):
        for name, (x, y) in self.lines.items():
            if len(x) != len(y) or len(x) == 0:
                raise ValueError(f"curve {name!r} of {self.title!r} has {len(x)} steps and {len(y)} values")


@dataclass(frozen=True)
class Images:
    """A grid of pictures.

    Args:
        grid: rows of (h, w, 3) uint8 RGB; None leaves a place empty.
    """

    title: str
    grid: Sequence[Sequence[np.ndarray | None]]
    row_captions: Sequence[str] = ()
    column_captions: Sequence[str] = ()
    note: str = ""

    def __post_init__(self):
        for picture in (picture for row in self.grid for picture in row if picture is not None):
            if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
                raise ValueError(
                    f"pictures of {self.title!r} must be (h, w, 3) uint8, not {picture.shape} {picture.dtype}"
                )


@dataclass(frozen=True)
class Video:
    """An mp4 to play: inside the page when it is small, else linked relative to the page."""

    title: str
    path: str | Path
    note: str = ""


@dataclass(frozen=True)
class Text:
    """Words: paragraphs parted by blank lines; `command` is shown as it would be typed."""

    title: str
    text: str
    command: str = ""


@dataclass(frozen=True)
class Part:
    """A chapter of a report: its heading, an opening sentence, its sections."""

    title: str
    sections: Sequence["Section"]
    text: str = ""


Section = Table | Curves | Images | Video | Text
