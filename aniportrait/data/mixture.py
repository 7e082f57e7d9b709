"""Several data sets as one: which, and how much of each."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aniportrait.data.transport import Location


def weights_of(folder: Location | Sequence[Mapping[str, Any]]) -> dict[Location, float]:
    """Folder -> weight, of the setting `data.folder`: one data set, or several with `folder` and `weight` each."""
    if isinstance(folder, str | Path):
        return {folder: 1.0}
    weights: dict[Location, float] = {}
    for part in folder:
        if not isinstance(part, Mapping) or set(part) != {"folder", "weight"}:
            raise ValueError(f"data.folders: {part} must be of the form {{folder: DIR, weight: NUMBER}}")
        if part["folder"] in weights or not part["weight"] > 0:
            raise ValueError(
                f"data.folders: {part['folder']} must occur once, and its weight ({part['weight']}) be positive"
            )
        weights[part["folder"]] = float(part["weight"])
    if not weights:
        raise ValueError("data.folders must name at least one data set")
    return weights


def one_folder(folder: Location | Sequence[Mapping[str, Any]], command: str) -> Location:
    """The setting `data.folder` of a command that takes one data set."""
    if not isinstance(folder, str | Path):
        raise ValueError(f"{command} takes one data set: data.folder must be one folder, not a mixture")
    return folder
