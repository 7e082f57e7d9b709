"""What a preparation says of every clip: kept or dropped, and why."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aniportrait.data.staging import Outcome


@dataclass(frozen=True)
class Reported:
    """One line of a report: a clip, or one of several made of it, kept or dropped.

    Args:
        clip: the source's file and, for a part of it, where it begins.
        key: of the sample, if it was kept.
        outcome: see Outcome.
        thumbnail: gives a small JPEG, where there is one.
    """

    clip: str
    key: str | None
    outcome: Outcome
    thumbnail: Callable[[], bytes | None]


Illustrate = Callable[[dict[str, Any], Sequence[Reported]], None]
"""Told of the finished report, before the data set appears."""


def report_of(
    reported: Sequence[Reported], clips: int, splits: Sequence[str], fingerprint: str
) -> dict[str, Any]:
    """What report.json holds: of `clips` clips, with the split of each kept one."""
    kept = [item for item in reported if item.outcome.kept]
    return {
        "clips": clips,
        "kept": len(kept),
        "seconds": round(sum(item.outcome.seconds for item in kept), 2),
        "splits": dict(sorted(Counter(splits).items())),
        "dropped": [
            {"clip": item.clip, "reason": item.outcome.reason, "figures": item.outcome.figures}
            for item in reported
            if not item.outcome.kept
        ],
        "mended": [{"clip": item.clip, "notes": item.outcome.notes} for item in kept if item.outcome.notes],
        "samples": [
            {
                "key": item.key,
                "clip": item.clip,
                "seconds": round(item.outcome.seconds, 2),
                "figures": item.outcome.figures,
            }
            for item in kept
        ],
        "fingerprint": fingerprint,
    }


def nothing_kept(report: dict[str, Any], path: Path) -> str:
    """The sentence that says so, with the first reasons; `path` is the report's."""
    dropped = report["dropped"]
    reasons = "; ".join(f"{Path(drop['clip']).name}: {drop['reason']}" for drop in dropped[:5])
    more = f"; and {len(dropped) - 5} more, see {path}" if len(dropped) > 5 else ""
    return f"none of {report['clips']} clips can be used ({reasons}{more})"
