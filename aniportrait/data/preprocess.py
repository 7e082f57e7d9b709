"""A source's clips -> a folder of shards with a report: in several processes, on several machines, resumable, no
bad clip fatal."""

import dataclasses
import json
import logging
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aniportrait.data import staging
from aniportrait.data.clip_preparation import PreparationSettings
from aniportrait.data.clip_report import REPORT, Illustrate, Reported, nothing_kept, report_of
from aniportrait.data.listing import Listing, StagedClips, is_done, list_clips
from aniportrait.data.sample_codec import decode_meta
from aniportrait.data.schema import META
from aniportrait.data.shards import INDEX, ShardIndex, ShardWriter
from aniportrait.data.sources import Source
from aniportrait.data.whole_file import write_text
from aniportrait.data.workers import Task, prepare_all
from aniportrait.face.task_file import find_task_file, sha256_of

log = logging.getLogger(__name__)

STAGING = ".staging"


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
        changed, it does nothing. A bad clip is dropped and named with its reason. One that failed for another
        reason than itself is named too, and tried again by the next call: until none is left, the prepared
        clips stay staged.

        Args:
            workers: processes; None takes one per core, 0 works in this process.
            illustrate: see Illustrate.

        Returns:
            the report: {"clips": in the source, "kept": samples, "failed": clips to be tried again, "dropped":
            [{"clip", "reason", "figures"}], "mended": [{"clip", "notes"}], "splits": {split: samples}, "seconds":
            of film kept, "samples": [{"key", "clip", "seconds", "figures"}], "fingerprint"}.

        Raises:
            NothingKeptError: no clip passed the gates.
        """
        listing = self._listing()
        if (done := self._finished(listing)) is not None:
            return done
        self._stage(listing.tasks, workers)
        return self._assemble(listing, illustrate)

    def run_partition(self, partition: Partition, workers: int | None = None) -> int:
        """Prepare a share of the clips for `merge`; how many there are in it. All machines must see `source` and
        `out` under the same paths."""
        listing = self._listing()
        tasks = partition.of(listing.tasks)
        if self._finished(listing) is None:
            self._stage(tasks, workers)
        return len(tasks)

    def merge(self, illustrate: Illustrate | None = None, workers: int | None = None) -> dict[str, Any]:
        """Put the shards together when every partition is done, and try again what failed; returns what `run` does.

        Raises:
            UnfinishedError: clips are not prepared yet.
            NothingKeptError: no clip passed the gates.
        """
        listing = self._listing()
        if (done := self._finished(listing)) is not None:
            return done
        if not listing.unprepared():
            self._stage(listing.failed(), workers)
        return self._assemble(listing, illustrate)

    def _listing(self) -> Listing:
        if self.clips_per_shard < 1:
            raise ValueError(f"clips_per_shard ({self.clips_per_shard}) must be at least 1")
        task_file = find_task_file(self.task_file)
        return list_clips(
            self.source.clips(),
            self.settings,
            task_file,
            sha256_of(task_file),
            self.out / STAGING,
            self.clips_per_shard,
        )

    def _finished(self, listing: Listing) -> dict[str, Any] | None:
        """The report of the data set that `out` holds, if it was made from the same clips in the same way and no
        clip waits for another try."""
        if not (self.out / INDEX).is_file() or not (self.out / REPORT).is_file():
            return None
        report = json.loads((self.out / REPORT).read_text())
        if not ShardIndex.load(self.out).fingerprint == listing.fingerprint == report.get("fingerprint"):
            return None
        if report["failed"] and listing.failed():
            return None
        log.info("%s holds these clips already", self.out)
        shutil.rmtree(self.out / STAGING, ignore_errors=True)
        return report

    def _stage(self, tasks: Sequence[Task], workers: int | None) -> None:
        if workers is not None and workers < 0:
            raise ValueError(f"workers ({workers}) must not be negative")
        (self.out / STAGING).mkdir(parents=True, exist_ok=True)
        prepare_all([task for task in tasks if not is_done(task)], workers)

    def _assemble(self, listing: Listing, illustrate: Illustrate | None) -> dict[str, Any]:
        """Shards from the staged clips, in the order of the list: the same whichever clip was finished first."""
        if left := listing.unprepared():
            raise UnfinishedError(
                f"{len(left)} of {len(listing.tasks)} clips are not prepared with these settings yet, "
                f"{left[0].clip.path} among them"
            )
        staged = listing.staged()
        samples, reported = staged.samples(), staged.reported()
        report = report_of(
            reported,
            clips=len(listing.tasks),
            splits=[str(task.clip.split) for task, _, _ in samples],
            fingerprint=listing.fingerprint,
        )
        if not samples:
            # An earlier data set that is there stays as it is, with the report that belongs to it.
            folder = self.out / STAGING if (self.out / INDEX).is_file() else self.out
            _tell(folder, report, reported, illustrate)
            raise NothingKeptError(nothing_kept(report, folder / REPORT))
        with ShardWriter(
            self.out, self.settings.fps, self.settings.image_size, self.clips_per_shard, listing.fingerprint
        ) as writer:
            _write_samples(staged, writer)
            _tell(self.out / STAGING, report, reported, illustrate)
            writer.retire_index()  # no moment at which a report lies beside the index of another data set
            for told in (self.out / STAGING).glob("report.*"):
                told.replace(self.out / told.name)
        if report["failed"]:
            log.warning(
                "%d clips failed for reasons that are not theirs: the same command tries them again, or stops asking "
                "once %s is deleted",
                report["failed"],
                self.out / STAGING,
            )
        else:
            shutil.rmtree(self.out / STAGING)
        return report


def _write_samples(staged: StagedClips, writer: ShardWriter) -> None:
    for task, number, key in staged.samples():
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


def _tell(
    folder: Path, report: dict[str, Any], reported: Sequence[Reported], illustrate: Illustrate | None
) -> None:
    write_text(folder / REPORT, json.dumps(report, indent=1) + "\n")
    if illustrate is not None:
        illustrate(folder, report, reported)
