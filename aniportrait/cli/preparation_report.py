"""The page about a preparation: what was kept, what was dropped and why, how the clips are, and what they look
like."""

import io
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from aniportrait.data.clip_report import Reported
from aniportrait.evaluation.report import write_report
from aniportrait.evaluation.report_sections import Column, Curves, Images, Part, Row, Section, Table

MOST_PICTURES = 96
"""On one contact sheet; of more clips every n-th is shown."""
MOST_ROWS = 200
"""In one table; report.json names all."""
FIGURES = (
    ("seconds", "Length", "seconds"),
    ("source_fps", "Frame rate of the source", "frames per second"),
    ("face_height", "Height of the face in the source", "pixels"),
    ("yaw", "Yaw, median over the clip", "degrees"),
    ("pitch", "Pitch, median over the clip", "degrees"),
    ("roll", "Roll, median over the clip", "degrees"),
    ("sharpness", "Sharpness", ""),
    ("sync_lag", "Sound after lips", "seconds (late is positive)"),
    ("sync_agreement", "Agreement of sound and lips", ""),
)
"""Name in the figures of a clip, title, unit of the axis."""


def write_preparation_report(path: Path, report: dict[str, Any], reported: Sequence[Reported]) -> Path:
    """Write the page; equal data sets give equal bytes."""
    kept = [item for item in reported if item.outcome.kept]
    dropped = [item for item in reported if not item.outcome.kept]
    parts = [Part("Kept and dropped", overview)] if (overview := _overview(report, dropped)) else []
    if histograms := _histograms(kept, dropped):
        parts.append(Part("How the clips are", histograms))
    sheets = [_sheet(title, items) for title, items in (("Kept", kept), ("Dropped", dropped)) if items]
    parts.append(
        Part("What they look like", sheets, "Kept clips as they are stored, dropped ones as they are.")
    )
    if named := _named(kept, dropped):
        parts.append(Part("Named", named))
    splits = "".join(f", {count} {split}" for split, count in report["splits"].items())
    summary = (
        f"{report['kept']} samples ({report['seconds']:.0f} s of film{splits}) from {report['clips']} clips; "
    )
    return write_report(path, parts, "Preparation", summary + f"{len(dropped)} dropped.")


def _overview(report: dict[str, Any], dropped: Sequence[Reported]) -> list[Section]:
    sections: list[Section] = []
    if splits := [Row(split, (count,)) for split, count in report["splits"].items()]:
        sections.append(Table("Samples of each split", (Column("samples", digits=0),), splits))
    if dropped:
        reasons = Counter(_kind(item.outcome.reason or "") for item in dropped)
        rows = [Row(reason, (count,)) for reason, count in reasons.most_common()]
        sections.append(Table("Why clips were dropped", (Column("clips", digits=0),), rows))
    return sections


def _kind(reason: str) -> str:
    """A reason without its figures and paths, so that like ones are counted together."""
    reason = re.sub(r"\S*/\S*", "the file", reason)
    return re.split(r"[:,(]", re.sub(r"\d+(\.\d+)?( %)?", "…", reason))[0].strip()


def _histograms(kept: Sequence[Reported], dropped: Sequence[Reported]) -> list[Curves]:
    drawn = []
    for name, title, unit in FIGURES:
        values = {
            label: [item.outcome.figures[name] for item in items if name in item.outcome.figures]
            for label, items in (("kept", kept), ("dropped", dropped))
        }
        known = {label: numbers for label, numbers in values.items() if numbers}
        if known:
            note = "; ".join(
                f"{label}: {len(numbers)} clips, median {np.median(numbers):.3g}"
                for label, numbers in known.items()
            )
            lines = _steps(known)
            drawn.append(Curves(title, lines, x_label=unit, y_label="clips", note=note))
    return drawn


def _steps(values: dict[str, list[float]]) -> dict[str, tuple[list[float], list[float]]]:
    """Outlines of histograms over common bins."""
    together = np.concatenate([np.asarray(numbers, float) for numbers in values.values()])
    low, high = float(together.min()), float(together.max())
    edges = np.linspace(low, high if high > low else low + 1, 21)
    lines = {}
    for label, numbers in values.items():
        counts = np.histogram(numbers, edges)[0]
        x = np.repeat(edges, 2).tolist()
        y = np.concatenate(((0,), np.repeat(counts, 2), (0,))).astype(float).tolist()
        lines[label] = (x, y)
    return lines


def _sheet(title: str, items: Sequence[Reported]) -> Images:
    shown = items[:: -(-len(items) // MOST_PICTURES)]
    note = "" if len(shown) == len(items) else f"{len(shown)} of {len(items)}"
    return Images(title, [[_contact_sheet(shown)]], note=note)


def _contact_sheet(items: Sequence[Reported], side: int = 128, columns: int = 8) -> np.ndarray:
    """(h, w, 3) uint8: a picture of each clip with its name and, if it was dropped, the reason."""
    font = ImageFont.load_default(10)
    lines = 3 if all(item.outcome.kept for item in items) else 6
    width, height = side + 8, side + 12 * lines + 10
    rows = -(-len(items) // columns)
    sheet = Image.new("RGB", (width * min(columns, len(items)), height * rows), "white")
    pen = ImageDraw.Draw(sheet)
    for number, item in enumerate(items):
        x, y = number % columns * width + 4, number // columns * height + 4
        pen.rectangle((x, y, x + side - 1, y + side - 1), fill=(225, 225, 225))
        if (data := item.thumbnail()) is not None:
            picture = Image.open(io.BytesIO(data)).convert("RGB")
            picture.thumbnail((side, side))
            sheet.paste(picture, (x + (side - picture.width) // 2, y + (side - picture.height) // 2))
        said = item.key or f"{Path(item.clip).name}: {_short(item)}"
        text = "\n".join(wrap(said, 24)[:lines])
        pen.text((x, y + side + 2), text, fill="black", font=font, spacing=1)
    return np.asarray(sheet)


def _short(item: Reported) -> str:
    return re.sub(r"\S*/", "", item.outcome.reason or "")


def _named(kept: Sequence[Reported], dropped: Sequence[Reported]) -> list[Section]:
    mended = [item for item in kept if item.outcome.notes]
    lists = (
        ("Dropped, and why", [(item, item.outcome.reason or "") for item in dropped]),
        ("Kept, but mended", [(item, "; ".join(item.outcome.notes)) for item in mended]),
    )
    sections: list[Section] = []
    for title, rows in lists:
        if rows:
            note = (
                f"the first {MOST_ROWS} of {len(rows)}; report.json names all"
                if len(rows) > MOST_ROWS
                else ""
            )
            named = [Row(item.clip, (text,)) for item, text in rows[:MOST_ROWS]]
            sections.append(Table(title, (Column(""),), named, note))
    return sections
