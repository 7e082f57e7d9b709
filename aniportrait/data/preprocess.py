"""A source's clips -> a folder of shards with a report: in several processes, on several machines, resumable, no
bad clip fatal."""

import dataclasses
import hashlib
import json
import logging
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from aniportrait.data import staging
from aniportrait.data.clip_preparation import PreparationSettings
from aniportrait.data.clip_report import Illustrate, Reported, nothing_kept, report_of
from aniportrait.data.sample_codec import decode_meta
from aniportrait.data.schema import META
from aniportrait.data.shards import INDEX, ShardIndex, ShardWriter, write_text_atomically
from aniportrait.data.sources import Source, SourceClip
from aniportrait.data.workers import Task, prepare_all
from aniportrait.face.task_file import find_task_file

log = logging.getLogger(__name__)

REPORT = "report.json"
STAGING = ".staging"
VERSION = 2
"""Of what is made of a clip; a higher one makes earlier staged clips worthless."""


class NothingKeptError(ValueError):
    """Not one clip of a source passed the gates."""


class UnfinishedError(ValueError):
    """Shards cannot be put together while clips are not prepared."""


@dataclass(frozen=True)
class Partition:
    """Share `number` of `count` of the clips, for one machine of several."""

    number: int = 1
    count: int = 1

    @staticmethod
    def read(text: str) -> "Partition":
        """ "2/4" -> the second of four."""
        match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            raise ValueError(f"partition ({text}) must be k/n with k from 1 to n")
        return Partition(int(match[1]), int(match[2]))

    def of(self, tasks: Sequence[Task]) -> list[Task]:
        """Every n-th, so that a list in order of length or of video is shared out evenly."""
        return list(tasks[self.number - 1 :: self.count])


@dataclass(frozen=True)
class Preparation:
    """All that decides what a data set holds.

    Args:
        source: lists the clips.
        out: folder of the data set; one that is there is replaced when the new one is complete.
        settings: what is made of a clip.
        clips_per_shard: see ShardWriter.
        task_file: MediaPipe's face landmarker; see find_task_file.
    """

    source: Source
    out: Path
    settings: PreparationSettings
    clips_per_shard: int = 64
    task_file: str | None = None

    def run(self, workers: int | None = None, illustrate: Illustrate | None = None) -> dict[str, Any]:
        """Prepare every clip and write shards, index.json and report.json.

        Killed at any point and called again, it does no finished clip twice; called again with nothing
        changed, it does nothing. A bad clip is dropped and named with its reason.

        Args:
            workers: processes; None takes one per core, 0 works in this process.
            illustrate: see Illustrate.

        Returns:
            the report: {"clips": in the source, "kept": samples, "dropped": [{"clip", "reason", "figures"}],
            "mended": [{"clip", "notes"}], "splits": {split: samples}, "seconds": of film kept, "samples":
            [{"key", "clip", "begin", "figures"}], "fingerprint"}.

        Raises:
            NothingKeptError: no clip passed the gates.
        """
        listed = self._listed()
        if (done := self._finished(listed)) is not None:
            return done
        self._stage(listed.tasks, workers)
        return self._assemble(listed, illustrate)

    def run_partition(self, partition: Partition, workers: int | None = None) -> int:
        """Prepare a share of the clips for `merge`; how many there are in it. All machines must see `source` and
        `out` under the same paths."""
        listed = self._listed()
        tasks = partition.of(listed.tasks)
        if self._finished(listed) is None:
            self._stage(tasks, workers)
        return len(tasks)

    def merge(self, illustrate: Illustrate | None = None) -> dict[str, Any]:
        """Put the shards together when every partition is done; returns what `run` does.

        Raises:
            UnfinishedError: clips are not prepared yet.
            NothingKeptError: no clip passed the gates.
        """
        listed = self._listed()
        if (done := self._finished(listed)) is not None:
            return done
        if left := [task.clip for task in listed.tasks if staging.outcomes(task.staged) is None]:
            raise UnfinishedError(
                f"{len(left)} of {len(listed.tasks)} clips are not prepared with these settings yet, "
                f"{left[0].path} among them"
            )
        return self._assemble(listed, illustrate)

    def _listed(self) -> "_Listed":
        if self.clips_per_shard < 1:
            raise ValueError(f"clips_per_shard ({self.clips_per_shard}) must be at least 1")
        task_file = find_task_file(self.task_file)
        clips = sorted(self.source.clips(), key=lambda clip: (str(clip.path), clip.begin, clip.title))
        tasks = [_task(clip, self.settings, task_file, self.out / STAGING) for clip in clips]
        if len({task.staged for task in tasks}) < len(tasks):
            raise ValueError("the source lists one clip twice")
        described = [(clip.identity, clip.split, clip.title, clip.recording) for clip in clips]
        fingerprint = _digest(self.clips_per_shard, described, [task.staged.name for task in tasks])
        return _Listed(tasks, _keys(clips), fingerprint)

    def _finished(self, listed: "_Listed") -> dict[str, Any] | None:
        """The report of the data set that `out` holds, if it was made from the same clips in the same way."""
        if not (self.out / INDEX).is_file() or not (self.out / REPORT).is_file():
            return None
        report = json.loads((self.out / REPORT).read_text())
        if not ShardIndex.load(self.out).fingerprint == listed.fingerprint == report.get("fingerprint"):
            return None
        log.info("%s holds these clips already", self.out)
        shutil.rmtree(self.out / STAGING, ignore_errors=True)
        return report

    def _stage(self, tasks: Sequence[Task], workers: int | None) -> None:
        if workers is not None and workers < 0:
            raise ValueError(f"workers ({workers}) must not be negative")
        (self.out / STAGING).mkdir(parents=True, exist_ok=True)
        prepare_all([task for task in tasks if staging.outcomes(task.staged) is None], workers)

    def _assemble(self, listed: "_Listed", illustrate: Illustrate | None) -> dict[str, Any]:
        """Shards from the staged clips, in the order of the list: the same whichever clip was finished first."""
        reported = listed.reported()
        report = report_of(
            reported,
            clips=len(listed.tasks),
            splits=[str(task.clip.split) for task, _, _ in listed.samples()],
            fingerprint=listed.fingerprint,
        )
        kept = [item for item in reported if item.outcome.kept]
        if not kept:
            write_text_atomically(self.out / REPORT, json.dumps(report, indent=1) + "\n")
            raise NothingKeptError(nothing_kept(report, self.out / REPORT))
        with ShardWriter(
            self.out, self.settings.fps, self.settings.image_size, self.clips_per_shard, listed.fingerprint
        ) as writer:
            for task, number, key in listed.samples():
                members, clip = staging.members(task.staged, number), task.clip
                meta = dataclasses.replace(
                    decode_meta(members[META]),
                    key=key,
                    identity=clip.identity,
                    split=str(clip.split),
                    source=clip.recording,
                )
                members[META] = json.dumps(dataclasses.asdict(meta), sort_keys=True).encode()
                writer.write_members(meta, members)
            write_text_atomically(self.out / REPORT, json.dumps(report, indent=1) + "\n")
            if illustrate is not None:
                illustrate(report, reported)
        shutil.rmtree(self.out / STAGING)
        return report


@dataclass(frozen=True)
class _Listed:
    """The clips of a source in their order, each with its key."""

    tasks: list[Task]
    keys: list[str]
    fingerprint: str

    def samples(self) -> list[tuple[Task, int, str]]:
        """(task, number of the piece, key) of every kept piece."""
        return [
            (task, number, key)
            for task, base in zip(self.tasks, self.keys, strict=True)
            for number, key in _piece_keys(base, staging.outcomes(task.staged) or [])
        ]

    def reported(self) -> list[Reported]:
        found = []
        for task, base in zip(self.tasks, self.keys, strict=True):
            outcomes = staging.outcomes(task.staged)
            if outcomes is None:
                outcomes = [staging.Outcome(0.0, 0.0, "its staged file vanished")]
            keys = dict(_piece_keys(base, outcomes))
            for number, outcome in enumerate(outcomes):
                where = f" from {task.clip.begin + outcome.begin:.2f} s" if _is_part(task, outcomes) else ""
                glimpse = partial(staging.thumbnail, task.staged, number)
                found.append(Reported(f"{task.clip.path}{where}", keys.get(number), outcome, glimpse))
        return found


def _is_part(task: Task, outcomes: Sequence[staging.Outcome]) -> bool:
    return len(outcomes) > 1 or task.clip.begin > 0 or task.clip.end is not None


def _piece_keys(base: str, outcomes: Sequence[staging.Outcome]) -> list[tuple[int, str]]:
    """(number, key) of the kept pieces; the key of a clip's only piece is the clip's. No clip's key has two dashes
    in a row."""
    return [
        (number, base if len(outcomes) == 1 else f"{base}--{number + 1}")
        for number, outcome in enumerate(outcomes)
        if outcome.kept
    ]


def _task(clip: SourceClip, settings: PreparationSettings, task_file: Path, staging_folder: Path) -> Task:
    """The name of the staged file says everything that its content depends on; persons and splits are added when
    the shards are put together."""
    path = clip.path.resolve()
    state = path.stat() if path.exists() else None
    identity = _digest(
        VERSION,
        path,
        state and (state.st_size, state.st_mtime_ns),
        (clip.title, clip.begin, clip.end, clip.box, clip.frame_rate),
        dataclasses.astuple(settings),
    )
    return Task(clip, settings, task_file, staging_folder / f"{identity}.zip")


def _keys(clips: Sequence[SourceClip]) -> list[str]:
    """A readable key for every clip; a hash of where it is tells clips of one name apart."""
    slugs = [re.sub(r"[^A-Za-z0-9_]+", "-", clip.title)[:60].strip("-") or "clip" for clip in clips]
    count = Counter(slugs)
    return [
        slug if count[slug] == 1 else f"{slug}-{_digest(clip.path.as_posix(), clip.begin, clip.title)[:12]}"
        for slug, clip in zip(slugs, clips, strict=True)
    ]


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]
