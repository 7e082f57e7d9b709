"""A source's clips -> a folder of shards with a report: in several processes, resumable, no bad clip
fatal."""

import atexit
import dataclasses
import hashlib
import json
import logging
import multiprocessing
import os
import re
import shutil
import zipfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
from tqdm import tqdm

from aniportrait.data.clip_preparation import DroppedClipError, PreparationSettings, prepare_clip
from aniportrait.data.media import MediaError
from aniportrait.data.schema import META
from aniportrait.data.shards import (
    INDEX,
    ShardIndex,
    ShardWriter,
    decode_meta,
    encode_sample,
    write_text_atomically,
)
from aniportrait.data.sources import Source, SourceClip
from aniportrait.face.detector import MissingLibraryError
from aniportrait.face.landmarks import FaceLandmarker
from aniportrait.face.task_file import find_task_file

log = logging.getLogger(__name__)

REPORT = "report.json"
STAGING = ".staging"
VERSION = 1
"""Of what is made of a clip; a higher one makes earlier staged clips worthless."""
OUTCOME = "outcome.json"


class NothingKeptError(ValueError):
    """Not one clip of a source passed the gates."""


@dataclass(frozen=True)
class _Task:
    """One clip for one worker: what to read, what to make, where to stage it."""

    path: Path
    settings: PreparationSettings
    task_file: Path
    staged: Path


def prepare(
    source: Source,
    out: str | Path,
    *,
    image_size: int = 256,
    fps: float = 25.0,
    margin: float = 0.4,
    min_seconds: float = 0.5,
    min_detection_rate: float = 0.8,
    min_face_height: float = 64.0,
    workers: int | None = None,
    clips_per_shard: int = 64,
    task_file: str | Path | None = None,
) -> dict[str, Any]:
    """Prepare every clip of a source and write shards, index.json and report.json into `out`.

    Killed at any point and called again, it does no finished clip twice; called again with nothing changed,
    it does nothing. A bad clip is dropped and named with its reason.

    Args:
        source: lists the clips.
        out: folder of the data set; one that is there is replaced when the new one is complete.
        image_size, fps, margin, min_seconds, min_detection_rate, min_face_height: see PreparationSettings.
        workers: processes; None takes one per core, 0 works in this process.
        clips_per_shard: see ShardWriter.
        task_file: MediaPipe's face landmarker; see find_task_file.

    Returns:
        the report: {"clips": n, "kept": n, "dropped": [{"clip": path, "reason": text}], "mended": [{"clip":
        path, "notes": [text]}], "splits": {split: clips}, "seconds": of film kept}.

    Raises:
        NothingKeptError: no clip passed the gates.
    """
    if workers is not None and workers < 0:
        raise ValueError(f"workers ({workers}) must not be negative")
    settings = PreparationSettings(image_size, fps, margin, min_seconds, min_detection_rate, min_face_height)
    out = Path(out)
    found_task_file = find_task_file(None if task_file is None else str(task_file))
    clips = sorted(source.clips(), key=lambda clip: str(clip.path))
    tasks = [_task(clip, settings, found_task_file, out / STAGING) for clip in clips]
    keys = _keys(clips)
    described = [(key, clip.identity, clip.split) for key, clip in zip(keys, clips, strict=True)]
    fingerprint = _digest(clips_per_shard, described, [task.staged.name for task in tasks])
    if (done := _finished(out, fingerprint)) is not None:
        log.info("%s holds these clips already", out)
        shutil.rmtree(out / STAGING, ignore_errors=True)
        return done
    (out / STAGING).mkdir(parents=True, exist_ok=True)
    _prepare_all([task for task in tasks if _outcome(task.staged) is None], workers)
    report = _assemble(clips, keys, tasks, out, clips_per_shard, fingerprint)
    shutil.rmtree(out / STAGING)
    return report


def _task(clip: SourceClip, settings: PreparationSettings, task_file: Path, staging: Path) -> _Task:
    """The name of the staged file says everything that its content depends on."""
    path = clip.path.resolve()
    state = path.stat() if path.exists() else None
    identity = _digest(
        VERSION, path, state and (state.st_size, state.st_mtime_ns), dataclasses.astuple(settings)
    )
    return _Task(clip.path, settings, task_file, staging / f"{identity}.zip")


def _keys(clips: Sequence[SourceClip]) -> list[str]:
    """A readable key for every clip; a hash of the path tells clips of one name apart."""
    slugs = [re.sub(r"[^A-Za-z0-9_-]+", "-", clip.path.stem)[:60].strip("-") or "clip" for clip in clips]
    count = Counter(slugs)
    return [
        slug if count[slug] == 1 else f"{slug}-{_digest(clip.path.as_posix())[:12]}"
        for slug, clip in zip(slugs, clips, strict=True)
    ]


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def _finished(out: Path, fingerprint: str) -> dict[str, Any] | None:
    """The report of the data set that `out` holds, if it was made from the same clips in the same way."""
    if not (out / INDEX).is_file() or not (out / REPORT).is_file():
        return None
    report = json.loads((out / REPORT).read_text())
    whole = ShardIndex.load(out).fingerprint == fingerprint == report.get("fingerprint")
    return report if whole else None


def _prepare_all(tasks: list[_Task], workers: int | None) -> None:
    """Stage every task's clip. A clip that kills its process is tried again alone, and dropped if it does so
    again."""
    tasks = sorted(tasks, key=lambda task: -task.path.stat().st_size if task.path.exists() else 0)
    if not tasks:
        return
    with tqdm(total=len(tasks), desc="preparing clips", unit="clip", smoothing=0.1) as progress:
        if workers == 0:
            for task in tasks:
                _stage(task)
                progress.update()
            return
        count = min(workers or _cores(), len(tasks))
        left = _prepare_in_processes(tasks, count, progress)
        for task in left:
            if _prepare_in_processes([task], 1, progress):
                _write_outcome(task.staged, "the process that read it was killed, twice (out of memory?)")
                progress.update()


def _prepare_in_processes(tasks: list[_Task], count: int, progress: tqdm) -> list[_Task]:
    """The tasks that were not finished because a process died."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context, initializer=_start_worker) as pool:
        futures = {pool.submit(_stage, task): task for task in tasks}
        try:
            for future in as_completed(futures):
                future.result()
                progress.update()
        except BrokenProcessPool:
            log.warning("a process died while preparing clips; going on with one clip at a time")
            return [task for task in tasks if _outcome(task.staged) is None]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return []


def _cores() -> int:
    """Those this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start_worker() -> None:
    cv2.setNumThreads(1)


def _stage(task: _Task) -> None:
    """Prepare one clip and leave the outcome, sample or reason, in its staged file."""
    try:
        clip = prepare_clip(task.path, task.settings, _landmarker(task.task_file))
    except MissingLibraryError:
        raise
    except (DroppedClipError, MediaError) as error:
        _write_outcome(task.staged, str(error))
    except Exception as error:  # whatever a clip does to the libraries, the others go on
        log.exception("unexpected error in %s", task.path)
        _write_outcome(task.staged, f"unexpected {type(error).__name__}: {error}")
    else:
        _write_outcome(task.staged, None, clip.notes, encode_sample(clip.sample))


@lru_cache(maxsize=1)
def _landmarker(task_file: Path) -> FaceLandmarker:
    """One for each process."""
    landmarker = FaceLandmarker(task_file)
    atexit.register(landmarker.close)  # MediaPipe complains when the interpreter closes it
    return landmarker


def _write_outcome(
    staged: Path, reason: str | None, notes: Sequence[str] = (), members: dict[str, bytes] | None = None
) -> None:
    partial = staged.with_name(f".{staged.name}.{os.getpid()}.partial")
    with partial.open("wb") as stream:
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr(OUTCOME, json.dumps({"reason": reason, "notes": list(notes)}))
            for extension, data in (members or {}).items():
                archive.writestr(extension, data)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(partial, staged)


def _outcome(staged: Path) -> dict[str, Any] | None:
    """{"reason", "notes"} of a clip that was staged; None if it was not, or not wholly."""
    try:
        with zipfile.ZipFile(staged) as archive:
            return json.loads(archive.read(OUTCOME))
    except (FileNotFoundError, zipfile.BadZipFile, KeyError):
        return None


def _members(staged: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(staged) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name != OUTCOME}


def _assemble(
    clips: Sequence[SourceClip],
    keys: Sequence[str],
    tasks: Sequence[_Task],
    out: Path,
    clips_per_shard: int,
    fingerprint: str,
) -> dict[str, Any]:
    """Shards from the staged clips, in the order of the list: the same whichever clip was finished first."""
    settings = tasks[0].settings
    outcomes = [
        _outcome(task.staged) or {"reason": "its staged file vanished", "notes": []} for task in tasks
    ]
    kept = [number for number, outcome in enumerate(outcomes) if outcome["reason"] is None]
    dropped = [
        {"clip": str(clip.path), "reason": outcome["reason"]}
        for clip, outcome in zip(clips, outcomes, strict=True)
        if outcome["reason"] is not None
    ]
    report: dict[str, Any] = {"clips": len(clips), "kept": len(kept), "dropped": dropped}
    report["fingerprint"] = fingerprint
    report["mended"] = [
        {"clip": str(clips[number].path), "notes": outcomes[number]["notes"]}
        for number in kept
        if outcomes[number]["notes"]
    ]
    report["splits"] = dict(sorted(Counter(str(clips[number].split) for number in kept).items()))
    if not kept:
        write_text_atomically(out / REPORT, json.dumps(report, indent=1) + "\n")
        reasons = "; ".join(f"{Path(drop['clip']).name}: {drop['reason']}" for drop in dropped[:5])
        more = f"; and {len(dropped) - 5} more, see {out / REPORT}" if len(dropped) > 5 else ""
        raise NothingKeptError(f"none of {len(clips)} clips can be used ({reasons}{more})")
    frames = 0
    with ShardWriter(out, settings.fps, settings.image_size, clips_per_shard, fingerprint) as writer:
        for number in kept:
            members = _members(tasks[number].staged)
            clip = clips[number]
            meta = dataclasses.replace(
                decode_meta(members[META]), key=keys[number], identity=clip.identity, split=str(clip.split)
            )
            members[META] = json.dumps(dataclasses.asdict(meta), sort_keys=True).encode()
            writer.write_members(meta, members)
            frames += meta.frames
        report["seconds"] = round(frames / settings.fps, 2)
        write_text_atomically(out / REPORT, json.dumps(report, indent=1) + "\n")
    return report
