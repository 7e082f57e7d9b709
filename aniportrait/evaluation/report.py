"""Sections as one self-contained HTML page."""

import base64
import io
import math
import os
import re
from collections.abc import Sequence
from functools import singledispatch
from html import escape
from pathlib import Path
from urllib.parse import quote

import numpy as np
from PIL import Image

from aniportrait.data.whole_file import write_text
from aniportrait.evaluation.curves import draw_curves, series_colour
from aniportrait.evaluation.report_sections import Column, Curves, Images, Part, Section, Table, Text, Video
from aniportrait.evaluation.scores import Score

STYLE = Path(__file__).with_name("report.css")

EMBEDDED_VIDEO_BYTES = 3_000_000
"""Videos below this go into the page; larger ones are linked and must travel with it."""

LOSSLESS_PIXELS = 128 * 128
"""Pictures up to this size are stored as PNG, larger ones as JPEG."""


def write_report(
    path: str | Path, sections: Sequence[Section | Part], title: str = "Report", summary: str = ""
) -> Path:
    """Writes the page to path at once and whole; sections outside a Part come in one of their own."""
    path = Path(path)
    parts = _parts(sections)
    body = "\n".join(_part(part, number, path.parent) for number, part in enumerate(parts))
    links = "".join(
        f'<a href="#part-{n}">{escape(part.title)}</a>' for n, part in enumerate(parts) if part.title
    )
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{escape(title)}</title>\n<link rel="icon" href="data:,">\n'
        f"<style>\n{STYLE.read_text(encoding='utf-8')}</style>\n</head>\n<body>\n"
        f"<header>\n<h1>{escape(title)}</h1>\n{_paragraphs(summary)}"
        f"{f'<nav>{links}</nav>' if links else ''}\n</header>\n"
        f"<main>\n{body}\n</main>\n</body>\n</html>\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, page)
    return path


def _parts(sections: Sequence[Section | Part]) -> list[Part]:
    parts: list[Part] = []
    loose: list[Section] = []
    for section in [*sections, Part("", ())]:
        if not isinstance(section, Part):
            loose.append(section)
            continue
        if loose:
            parts.append(Part("", tuple(loose)))
            loose = []
        if section.title or section.sections:
            parts.append(section)
    return parts


def _part(part: Part, number: int, folder: Path) -> str:
    heading = f"<h2>{escape(part.title)}</h2>\n" if part.title else "<br>\n"
    cards = "\n".join(_card(section, folder) for section in part.sections)
    return (
        f'<section id="part-{number}">\n{heading}{_paragraphs(part.text)}'
        f'<div class="cards">\n{cards}\n</div>\n</section>'
    )


def _card(section: Section, folder: Path) -> str:
    width = " wide" if isinstance(section, Table | Images | Text) else ""
    note = "" if isinstance(section, Text) else section.note
    return (
        f'<figure class="card{width}">\n<h3>{escape(section.title)}</h3>\n{_content(section, folder)}\n'
        + (f'<figcaption class="note">{escape(note)}</figcaption>\n' if note else "")
        + "</figure>"
    )


@singledispatch
def _content(section: Section, folder: Path) -> str:
    raise TypeError(f"a report has no section of type {type(section).__name__}")


@_content.register
def _(section: Text, folder: Path) -> str:
    return _paragraphs(section.text) + (f"<pre>{escape(section.command)}</pre>" if section.command else "")


@_content.register
def _(section: Table, folder: Path) -> str:
    best = [_best_rows(section, index) for index in range(len(section.columns))]
    head = "".join(f'<th scope="col">{_column_head(column)}</th>' for column in section.columns)
    body = []
    for number, row in enumerate(section.rows):
        tag = "" if row.kind == "ours" else f' <span class="tag">{row.kind}</span>'
        cells = "".join(
            _cell(cell, column, number in best[index])
            for index, (cell, column) in enumerate(zip(row.cells, section.columns, strict=True))
        )
        body.append(f'<tr class="{row.kind}"><th scope="row">{escape(row.name)}{tag}</th>{cells}</tr>')
    return (
        f'<div class="scroll"><table class="table"><thead><tr><th></th>{head}</tr></thead>\n'
        f"<tbody>\n{chr(10).join(body)}\n</tbody></table></div>"
    )


def column_words(column: Column) -> str:
    """Its unit and which direction is better, "" where it has neither."""
    direction = {True: "↑ higher is better", False: "↓ lower is better", None: ""}[column.higher_is_better]
    return " · ".join(text for text in (column.unit, direction) if text)


def _column_head(column: Column) -> str:
    small = column_words(column)
    return escape(column.name) + (f"<small>{escape(small)}</small>" if small else "")


def _best_rows(table: Table, index: int) -> set[int]:
    column = table.columns[index]
    values = {
        number: value
        for number, row in enumerate(table.rows)
        if row.kind in ("ours", "baseline")
        and (value := _value(row.cells[index])) is not None
        and math.isfinite(value)
    }
    if column.higher_is_better is None or len(values) < 2:
        return set()
    best = max(values.values()) if column.higher_is_better else min(values.values())
    return {number for number, value in values.items() if value == best}


def _value(cell: Score | float | str | None) -> float | None:
    value = cell.value if isinstance(cell, Score) else cell
    return None if value is None or isinstance(value, str) or math.isnan(value) else float(value)


def _cell(cell: Score | float | str | None, column: Column, best: bool) -> str:
    if isinstance(cell, str):
        return f'<td class="words">{escape(cell)}</td>'
    mark = ' class="best" title="best"' if best else ""
    lines = evidence(cell, column.digits) if isinstance(cell, Score) else ()
    small = "".join(f"<small>{line}</small>" for line in lines)
    return f"<td{mark}><b>{figure(cell, column.digits)}</b>{small}</td>"


def figure(cell: Score | float | None, digits: int) -> str:
    """A cell's number as it is shown, a dash where there is none."""
    value = _value(cell)
    return "–" if value is None else _number(value, digits)


def evidence(score: Score, digits: int) -> list[str]:
    """What a score's number stands on: its interval, the clips, the spread over seeds."""
    lines = []
    if score.interval is not None:
        low, high = (_number(end, digits) for end in score.interval)
        lines.append(f"95 % {low} to {high}")
    if score.scored is not None:
        given = "" if score.given in (None, score.scored) else f" of {score.given}"
        lines.append(f"n = {score.scored}{given}")
    if score.seed_spread is not None:
        lines.append(f"± {_number(score.seed_spread, digits)} over {len(score.per_seed)} sampling seeds")
    return lines


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".replace("-", "−").replace("inf", "∞")


@_content.register
def _(section: Curves, folder: Path) -> str:
    svg = draw_curves(
        section.lines, section.levels, section.x_label, section.y_label, section.y_scale, section.smooth
    )
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{escape(section.title)}" ', 1)
    names = [("line", name) for name in section.lines] + [("level", name) for name in section.levels]
    items = "".join(
        f'<li class="{kind}"><i style="border-color: {series_colour(index)}"></i>{escape(name)}</li>'
        for index, (kind, name) in enumerate(names)
    )
    return f'{svg}\n<ul class="legend">{items}</ul>'


@_content.register
def _(section: Images, folder: Path) -> str:
    head = "".join(f'<th scope="col">{escape(caption)}</th>' for caption in section.column_captions)
    corner = "<th></th>" if section.row_captions else ""
    body = []
    for number, row in enumerate(section.grid):
        caption = section.row_captions[number] if number < len(section.row_captions) else ""
        side = f'<th scope="row">{escape(caption)}</th>' if section.row_captions else ""
        cells = []
        for index, picture in enumerate(row):
            above = section.column_captions[index] if index < len(section.column_captions) else ""
            alt = escape(", ".join(text for text in (caption, above) if text))
            cells.append(
                "<td></td>" if picture is None else f'<td><img alt="{alt}" src="{picture_uri(picture)}"></td>'
            )
        body.append(f"<tr>{side}{''.join(cells)}</tr>")
    return (
        '<div class="scroll"><table class="pictures">'
        + (f"<thead><tr>{corner}{head}</tr></thead>" if head else "")
        + f"\n<tbody>\n{chr(10).join(body)}\n</tbody></table></div>"
    )


def picture_uri(picture: np.ndarray) -> str:
    """(h, w, 3) uint8 RGB -> a data URI, PNG for small pictures and JPEG for larger ones."""
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(picture))
    if image.width * image.height <= LOSSLESS_PIXELS:
        image.save(buffer, "PNG", optimize=True)
        return _data_uri("image/png", buffer.getvalue())
    image.save(buffer, "JPEG", quality=92, subsampling=0)
    return _data_uri("image/jpeg", buffer.getvalue())


@_content.register
def _(section: Video, folder: Path) -> str:
    path = Path(section.path)
    if not path.is_file():
        raise FileNotFoundError(f"video {path} of section {section.title!r} does not exist")
    if path.stat().st_size < EMBEDDED_VIDEO_BYTES:
        source = _data_uri("video/mp4", path.read_bytes())
    else:
        source = quote(Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix())
    return f'<video controls playsinline preload="metadata" src="{source}"></video>'


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{escape(part.strip())}</p>\n" for part in re.split(r"\n\s*\n", text) if part.strip())
