"""Where a search keeps its trials."""

from pathlib import Path


def sqlite(file: str) -> str:
    """The address of a SQLite file, for Optuna, which makes the file but not its folder."""
    path = Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{path}"
