"""Training curves: read from Lightning's CSV log, drawn as SVG that follows the page's colours."""

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, StrMethodFormatter

SERIES_COLOURS = 8
"""Number of line colours, which the page defines as --series-0 and so on."""

_COUNTERS = ("step", "epoch")
# Text stays text, in the page's font; names may hold dollar signs; equal pages are equal byte for byte.
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "aniportrait",
    "text.parse_math": False,
    "font.size": 11,
}
# Stand-ins that matplotlib writes into the SVG and _follow_the_page replaces.
_INK, _GRID, _SERIES = "#0a0b0c", "#0a0b0d", "#0a0c{:02x}"


def read_curves(path: str | Path) -> dict[str, tuple[list[int], list[float]]]:
    """Lightning's metrics.csv -> for each logged name its steps and values.

    Lightning writes one row per logging call, empty where a name was not logged in it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"training log {path} does not exist")
    curves: dict[str, tuple[list[int], list[float]]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if "step" not in (rows.fieldnames or ()):
            raise ValueError(f"training log {path} has no column step; its first line is {rows.fieldnames}")
        for row in rows:
            for name, text in row.items():
                value = _number(text)
                if name and name not in _COUNTERS and value is not None:
                    steps, values = curves.setdefault(name, ([], []))
                    steps.append(int(float(row["step"])))
                    values.append(value)
    return curves


def _number(text: object) -> float | None:
    try:
        return float(text) if isinstance(text, str) else None
    except ValueError:
        return None


def draw_curves(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    levels: Mapping[str, float],
    x_label: str,
    y_label: str,
    y_scale: str,
    smooth: int,
) -> str:
    """Lines (x and y each) and dashed horizontal levels -> an <svg> element without a legend.

    Line i takes the page's colour i, level j the one after the last line's and so on; see `series_colour`.
    """
    with rc_context(_STYLE):
        figure = Figure(figsize=(5.4, 3.0), layout="constrained")
        axes = figure.add_subplot()
        for index, (x, y) in enumerate(lines.values()):
            _draw_line(axes, np.asarray(x, dtype=float), np.asarray(y, dtype=float), _stand_in(index), smooth)
        for index, level in enumerate(levels.values(), start=len(lines)):
            axes.axhline(level, color=_stand_in(index), linewidth=1.4, linestyle=(0, (5, 3)))
        axes.set_yscale(y_scale)
        if y_scale == "log":  # the stock labels are mathematics, which only matplotlib's own fonts can show
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.minorticks_off()
        axes.set_xlabel(x_label, color=_INK)
        axes.set_ylabel(y_label, color=_INK)
        axes.tick_params(which="both", color=_GRID, labelcolor=_INK)
        axes.grid(color=_GRID, linewidth=0.7)
        axes.spines[:].set_visible(False)
        axes.margins(x=0.01)
        text = io.StringIO()
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None})
    return _follow_the_page(text.getvalue())


def _draw_line(axes: Axes, x: np.ndarray, y: np.ndarray, colour: str, smooth: int) -> None:
    if len(x) == 1:
        axes.plot(x, y, color=colour, marker="o", markersize=5)
    elif smooth <= 1 or len(x) < 4 * smooth:
        axes.plot(x, y, color=colour, linewidth=1.8)
    else:
        axes.plot(x, y, color=colour, linewidth=0.8, alpha=0.3)
        axes.plot(x, running_mean(y, smooth), color=colour, linewidth=1.8)


def running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """(n,) -> (n,): mean of the finite values less than window / 2 places away; nan where there is none."""
    count = len(values)
    known = np.isfinite(values)
    total = np.concatenate(([0.0], np.cumsum(np.where(known, values, 0.0))))
    number = np.concatenate(([0], np.cumsum(known)))
    place, reach = np.arange(count), (window - 1) // 2
    first, after = np.maximum(place - reach, 0), np.minimum(place + reach + 1, count)
    inside = number[after] - number[first]
    return np.divide(total[after] - total[first], inside, out=np.full(count, math.nan), where=inside > 0)


def _stand_in(index: int) -> str:
    return _SERIES.format(index % SERIES_COLOURS)


def series_colour(index: int) -> str:
    """CSS colour of line or level number index."""
    return f"var(--series-{index % SERIES_COLOURS})"


def _follow_the_page(svg: str) -> str:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'<g id="patch_\d+">\s*<path[^>]*fill: #ffffff[^>]*/>\s*</g>', "", svg)
    svg = svg.replace(_INK, "currentColor").replace(_GRID, "var(--grid)")
    for index in range(SERIES_COLOURS):
        svg = svg.replace(_stand_in(index), series_colour(index))
    return svg
