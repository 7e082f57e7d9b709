"""The processes that prepare clips, and how far they are."""

import atexit
import logging
import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing.connection import wait
from pathlib import Path

import cv2
from tqdm import tqdm

from aniportrait.data.clip_preparation import PreparationSettings, prepare_clip
from aniportrait.data.film import film_seconds
from aniportrait.data.gates import DroppedClipError
from aniportrait.data.media import MediaError
from aniportrait.data.piece import Piece
from aniportrait.data.sources import SourceClip
from aniportrait.data.staging import outcomes, stage
from aniportrait.face.detector import MissingLibraryError
from aniportrait.face.landmarks import FaceLandmarker

log = logging.getLogger(__name__)

UNKNOWN_SECONDS = 5.0
"""Taken for the length of a clip that does not say."""


@dataclass(frozen=True)
class Task:
    """One clip for one worker: what to read, what to make, where to stage it."""

    clip: SourceClip
    settings: PreparationSettings
    task_file: Path
    staged: Path

    @property
    def seconds(self) -> float:
        """Of film, as far as the file says."""
        if self.clip.end is not None:
            return self.clip.end - self.clip.begin
        return film_seconds(self.clip.path, self.clip.frame_rate) or UNKNOWN_SECONDS


def prepare_all(tasks: list[Task], workers: int | None) -> None:
    """Stage every task's clip. A clip that kills its process is tried again alone, and dropped if it does so
    again.

    Args:
        tasks: longest first is the best order: no long clip is left for the end.
        workers: processes; None takes one per core, 0 works in this process.
    """
    if not tasks:
        return
    seconds = {task.staged: task.seconds for task in tasks}
    tasks = sorted(tasks, key=lambda task: -seconds[task.staged])
    with _Progress(seconds) as progress:
        if workers == 0:
            for task in tasks:
                _stage(task)
                progress.finished(task)
            return
        left = _in_processes(tasks, min(workers or _cores(), len(tasks)), progress)
        for task in left:
            if _in_processes([task], 1, progress):
                _drop(task, "the process that read it was killed, twice (out of memory?)")
                progress.finished(task)


class _Progress:
    """Counts seconds of film, not clips: the time left is what they took so far, carried on."""

    def __init__(self, seconds: dict[Path, float]):
        self._seconds, self._clips = seconds, 0
        form = (
            "{desc} {percentage:3.0f} % of {total:.0f} s of film |{bar}| {elapsed}, {remaining} left{postfix}"
        )
        total = sum(seconds.values())
        self._bar = tqdm(total=total, desc="preparing clips", smoothing=0.0, bar_format=form)

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def finished(self, task: Task) -> None:
        self._clips += 1
        self._bar.set_postfix_str(f"{self._clips} of {len(self._seconds)} clips", refresh=False)
        self._bar.update(self._seconds[task.staged])


def _in_processes(tasks: list[Task], count: int, progress: _Progress) -> list[Task]:
    """The tasks that were not finished because a process died."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context, initializer=_start_worker) as pool:
        futures = {pool.submit(_stage, task): task for task in tasks}
        try:
            for future in as_completed(futures):
                future.result()
                progress.finished(futures[future])
        except BrokenProcessPool:
            log.warning("a process died while preparing clips; going on with one clip at a time")
            return [task for task in tasks if outcomes(task.staged) is None]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return []


def _cores() -> int:
    """Those this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start_worker() -> None:
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    """A worker whose parent was killed would wait for its next clip for ever."""
    if (parent := multiprocessing.parent_process()) is not None:
        wait([parent.sentinel])
        os._exit(1)


def _stage(task: Task) -> None:
    """Prepare one clip and leave what became of it, sample or reason, in its staged file."""
    try:
        pieces = prepare_clip(task.clip, task.settings, _landmarker(task.task_file))
    except MissingLibraryError:
        raise
    except (DroppedClipError, MediaError) as error:
        _drop(task, str(error))
    except Exception as error:  # whatever a clip does to the libraries, the others go on
        log.exception("unexpected error in %s", task.clip.path)
        _drop(task, f"unexpected {type(error).__name__}: {error}")
    else:
        stage(task.staged, pieces)


def _drop(task: Task, reason: str) -> None:
    stage(task.staged, [Piece(begin=0.0, reason=reason)])


@lru_cache(maxsize=1)
def _landmarker(task_file: Path) -> FaceLandmarker:
    """One for each process."""
    landmarker = FaceLandmarker(task_file)
    atexit.register(landmarker.close)  # MediaPipe complains when the interpreter closes it
    return landmarker
