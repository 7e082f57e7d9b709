"""A source's clips in their order: where each is staged, what its samples are called, and what became of it."""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from aniportrait.data import staging
from aniportrait.data.clip_preparation import PreparationSettings
from aniportrait.data.clip_report import Reported
from aniportrait.data.schema import PIECE, key_of_title
from aniportrait.data.sources import SourceClip
from aniportrait.data.staging import Outcome
from aniportrait.data.workers import Task

VERSION = 3
"""Of what is made of a clip; a higher one makes earlier staged clips worthless."""


@dataclass(frozen=True)
class Listing:
    """What there is to prepare.

    Args:
        tasks: one for each clip.
        keys: of the clips.
        fingerprint: of all that the data set depends on.
    """

    tasks: list[Task]
    keys: list[str]
    fingerprint: str

    def unprepared(self) -> list[Task]:
        return [task for task in self.tasks if staging.outcomes(task.staged) is None]

    def failed(self) -> list[Task]:
        """Those staged as dropped for a reason that says nothing of the clip."""
        return [task for task in self.tasks if _any_failed(staging.outcomes(task.staged) or [])]

    def staged(self) -> "StagedClips":
        """Those of clips that are all prepared."""
        return StagedClips(
            self.tasks, self.keys, [staging.outcomes(task.staged) or [] for task in self.tasks]
        )


@dataclass(frozen=True)
class StagedClips:
    """What became of every clip, read once.

    Args:
        tasks, keys: see Listing.
        outcomes: of the pieces of each clip.
    """

    tasks: list[Task]
    keys: list[str]
    outcomes: list[list[Outcome]]

    def samples(self) -> list[tuple[Task, int, str]]:
        """(task, number of the piece, key) of every kept piece."""
        return [
            (task, number, key)
            for task, base, outcomes in zip(self.tasks, self.keys, self.outcomes, strict=True)
            for number, key in _piece_keys(base, outcomes)
        ]

    def reported(self) -> list[Reported]:
        found = []
        for task, base, outcomes in zip(self.tasks, self.keys, self.outcomes, strict=True):
            keys = dict(_piece_keys(base, outcomes))
            for number, outcome in enumerate(outcomes):
                where = f" from {task.clip.begin + outcome.begin:.2f} s" if _is_part(task, outcomes) else ""
                glimpse = partial(staging.thumbnail, task.staged, number)
                found.append(Reported(f"{task.clip.path}{where}", keys.get(number), outcome, glimpse))
        return found


def list_clips(
    clips: Sequence[SourceClip],
    settings: PreparationSettings,
    task_file: Path,
    landmarker: str,
    staging_folder: Path,
    clips_per_shard: int,
) -> Listing:
    """The tasks of a source's clips.

    Args:
        landmarker: hash of the `task_file`.
        staging_folder: where each clip gets a file.
    """
    clips = sorted(clips, key=lambda clip: (str(clip.path), clip.begin, clip.title))
    tasks = [
        Task(clip, settings, task_file, staging_folder / f"{_identity(clip, settings, landmarker)}.zip")
        for clip in clips
    ]
    keys = _keys(clips)
    count = Counter([*keys, *(task.staged for task in tasks)])
    for task, key in zip(tasks, keys, strict=True):
        if count[key] > 1 or count[task.staged] > 1:
            raise ValueError(f"the source lists {task.clip.path} ({task.clip.title}) twice")
    described = [(clip.identity, clip.split, clip.title, clip.recording) for clip in clips]
    return Listing(tasks, keys, _digest(clips_per_shard, described, [task.staged.name for task in tasks]))


def is_done(task: Task) -> bool:
    """Whether its clip is staged, and not as failed."""
    outcomes = staging.outcomes(task.staged)
    return outcomes is not None and not _any_failed(outcomes)


def _any_failed(outcomes: Sequence[Outcome]) -> bool:
    return any(outcome.failed for outcome in outcomes)


def _identity(clip: SourceClip, settings: PreparationSettings, landmarker: str) -> str:
    """Of everything that the content of the staged file depends on; persons and splits are added when the shards are
    put together."""
    path = clip.path.resolve()
    state = path.stat() if path.exists() else None
    return _digest(
        VERSION,
        landmarker,
        path,
        state and (state.st_size, state.st_mtime_ns),
        (clip.title, clip.begin, clip.end, clip.box, clip.frame_rate),
        dataclasses.astuple(settings),
    )


def _keys(clips: Sequence[SourceClip]) -> list[str]:
    """A readable key for every clip; a hash of where it is tells clips of one name apart."""
    keys = [key_of_title(clip.title) for clip in clips]
    count = Counter(keys)
    return [
        key if count[key] == 1 else f"{key}-{_place(clip)}" for key, clip in zip(keys, clips, strict=True)
    ]


def _place(clip: SourceClip) -> str:
    return _digest(clip.path.as_posix(), clip.begin, clip.end, clip.title, clip.box)[:12]


def _piece_keys(base: str, outcomes: Sequence[Outcome]) -> list[tuple[int, str]]:
    """(number, key) of the kept pieces; the key of a clip's only piece is the clip's. No clip's key has two dashes
    in a row."""
    return [
        (number, base if len(outcomes) == 1 else f"{base}{PIECE}{number + 1}")
        for number, outcome in enumerate(outcomes)
        if outcome.kept
    ]


def _is_part(task: Task, outcomes: Sequence[Outcome]) -> bool:
    return len(outcomes) > 1 or task.clip.begin > 0 or task.clip.end is not None


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]
