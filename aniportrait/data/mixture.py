"""Several data sets as one: which, and how much of each."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aniportrait.data.shards import ShardEntry, ShardIndex
from aniportrait.data.transport import Location

log = logging.getLogger(__name__)


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


def without_held_out(training: Sequence[ShardEntry], others: Sequence[ShardIndex]) -> list[ShardEntry]:
    """The training clips of one data set whose recording no other one holds out: each was split by itself alone.

    A recording is known by the id that its source gives, as YouTube's; a file's name says nothing beyond its set.
    """
    held = {
        entry.source: index.folder
        for index in others
        for split in ("val", "test")
        for entry in index.of_split(split)
        if not Path(entry.source).suffix
    }
    left_out = [entry for entry in training if entry.source in held]
    if left_out:
        first = left_out[0]
        log.warning(
            "%s: %d of %d train clips are left out, because another data set holds their recording out for evaluation "
            "(clip %s is of %s, which %s holds out)",
            *(first.folder, len(left_out), len(training), first.key, first.source, held[first.source]),
        )
    return [entry for entry in training if entry.source not in held]
