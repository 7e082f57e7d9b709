"""A report's tables as Markdown: for the terminal, an issue, a README."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from aniportrait.data.whole_file import write_text
from aniportrait.evaluation.report import column_words, evidence, figure
from aniportrait.evaluation.report_sections import Column, Part, Section, Table
from aniportrait.evaluation.scores import Score


def write_tables(path: str | Path, sections: Sequence[Section | Part]) -> Path:
    """Writes every table of a report to path at once and whole, with its title, its note and each figure's evidence."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "\n".join(_markdown(table) for table in _tables(sections)))
    return path


def _tables(sections: Iterable[Section | Part]) -> Iterable[Table]:
    for section in sections:
        if isinstance(section, Part):
            yield from _tables(section.sections)
        elif isinstance(section, Table):
            yield section


def _markdown(table: Table) -> str:
    heads = [
        ": ".join(words for words in (column.name, column_words(column)) if words) for column in table.columns
    ]
    rows = [
        [row.name, *(_cell(*pair) for pair in zip(row.cells, table.columns, strict=True))]
        for row in table.rows
    ]
    lines = [["", *heads], ["---"] * (1 + len(heads)), *rows]
    note = f"\n{table.note}\n" if table.note else ""
    return (
        f"## {table.title}\n\n"
        + "".join(f"| {' | '.join(map(_in_one_line, line))} |\n" for line in lines)
        + note
    )


def _cell(cell: Score | float | str | None, column: Column) -> str:
    if isinstance(cell, str):
        return cell
    proof = evidence(cell, column.digits) if isinstance(cell, Score) else []
    return figure(cell, column.digits) + (f" ({', '.join(proof)})" if proof else "")


def _in_one_line(words: str) -> str:
    return " ".join(words.split()).replace("|", "\\|")
