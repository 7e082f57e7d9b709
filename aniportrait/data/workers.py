"""The processes that prepare clips, and how far they are."""

import atexit
import logging
import multiprocessing
import os
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor
from concurrent.futures import wait as wait_for
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
from tqdm import tqdm

from aniportrait.data.clip_preparation import PreparationSettings, prepare_clip
from aniportrait.data.film import film_seconds
from aniportrait.data.gates import DroppedClipError
from aniportrait.data.parent import end_with_the_parent
from aniportrait.data.piece import Piece
from aniportrait.data.sound import MediaError
from aniportrait.data.sources import SourceClip
from aniportrait.data.staging import stage
from aniportrait.face.detector import MissingLibraryError
from aniportrait.face.landmarks import FaceLandmarker

log = logging.getLogger(__name__)

UNKNOWN_SECONDS = 5.0
"""Taken for the length of a clip that does not say."""


class WorkerError(OSError):
    """Processes that prepare clips do not come to life here: no clip is to blame."""


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
        if not self.clip.path.exists():
            return 0.0
        if self.clip.end is not None:
            return self.clip.end - self.clip.begin
        seconds = film_seconds(self.clip.path, self.clip.frame_rate)
        return UNKNOWN_SECONDS if seconds is None else max(0.0, seconds - self.clip.begin)


def prepare_all(tasks: list[Task], workers: int | None) -> None:
    """Stage every task's clip. A clip that kills its process is tried again alone when all others are done, and
    reported as failed if it does so again.

    Args:
        tasks: longest first is the best order: no long clip is left for the end.
        workers: processes; None takes one per core, 0 works in this process.

    Raises:
        WorkerError: a process died before it had begun with any clip.
    """
    if not tasks:
        return
    seconds = {task.staged: task.seconds for task in tasks}
    tasks = sorted(tasks, key=lambda task: -seconds[task.staged])
    with _Progress(seconds) as progress:
        if workers == 0:
            with _opened:
                for task in tasks:
                    _stage(task)
                    progress.finished(task)
            return
        for task in _in_processes(tasks, min(workers or _cores(), len(tasks)), progress):
            if _in_processes([task], 1, progress):
                _fail(task, "the process that read it was killed, twice (out of memory?)")
                progress.finished(task)


class _Progress:
    """Counts seconds of film, not clips: the time left is what they took so far, carried on."""

    def __init__(self, seconds: dict[Path, float]):
        self._seconds, self._clips = seconds, 0
        form = (
            "{desc} {percentage:3.0f} % of {total:.0f} s of film |{bar}| {elapsed}, {remaining} left{postfix}"
        )
        total = sum(seconds.values()) or 1.0  # tqdm knows no share of nothing
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
    """Stage the tasks' clips in `count` processes; the tasks whose process died. Another takes its place."""
    waiting, died = deque(tasks), []
    running: dict[Future[None], tuple[_Worker, Task]] = {}
    with ExitStack() as stack:

        def begin(worker: _Worker) -> None:
            if waiting:
                task = waiting.popleft()
                running[worker.submit(task)] = worker, task

        for _ in range(count):
            begin(stack.enter_context(_Worker(tasks[0].task_file)))
        while running:
            for future in wait_for(running, return_when=FIRST_COMPLETED).done:
                worker, task = running.pop(future)
                try:
                    future.result()
                    progress.finished(task)
                except BrokenProcessPool:
                    worker.check_ready()
                    log.warning("the process that read %s died; the others go on", task.clip.path)
                    died.append(task)
                    if waiting:
                        worker = stack.enter_context(_Worker(task.task_file))
                begin(worker)
    return died


class _Worker:
    """One process that prepares one clip at a time, so that its death is that clip's and no other's."""

    def __init__(self, task_file: Path):
        _forget_foreign_start_method()
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, mp_context=context, initializer=_start_process)
        self._ready = self._pool.submit(_make_ready, task_file)

    def __enter__(self) -> "_Worker":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._pool.shutdown(wait=kind is None, cancel_futures=True)

    def submit(self, task: Task) -> Future[None]:
        return self._pool.submit(_stage, task)

    def check_ready(self) -> None:
        """A WorkerError if the process died before its first clip."""
        if isinstance(error := self._ready.exception(), BrokenProcessPool):
            raise WorkerError(
                "a process that was to prepare clips died before it began with one: the system's log or the lines "
                "above say why; workers=0 prepares in this process"
            ) from error


def _forget_foreign_start_method() -> None:
    """joblib's processes (hydra/launcher=joblib) carry a start method of its own as multiprocessing's default, and a
    spawned process dies when it is told of one that it does not know."""
    method = multiprocessing.get_start_method(allow_none=True)
    if method is not None and method not in multiprocessing.get_all_start_methods():
        multiprocessing.set_start_method("spawn", force=True)


def _cores() -> int:
    """Those this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start_process() -> None:
    cv2.setNumThreads(1)
    # MediaPipe complains when the interpreter closes it, and when it is closed before its own exit handler has run.
    atexit.register(_opened.close)
    end_with_the_parent()  # it would wait for its next clip for ever


def _make_ready(task_file: Path) -> None:
    """What a process does before its first clip: whatever is wrong with this machine shows here."""
    _landmarker(task_file)


def _stage(task: Task) -> None:
    """Prepare one clip and leave what became of it, sample or reason, in its staged file."""
    landmarker = _landmarker(task.task_file)
    try:
        pieces = prepare_clip(task.clip, task.settings, landmarker)
    except (MissingLibraryError, ImportError):  # nothing that another clip would not meet as well
        raise
    except (DroppedClipError, MediaError) as error:
        stage(task.staged, [Piece(reason=str(error))])
    except Exception as error:  # whatever a clip does to the libraries, the others go on
        log.exception("unexpected error in %s", task.clip.path)
        _fail(task, f"unexpected {type(error).__name__}: {error}")
    else:
        stage(task.staged, pieces)


def _fail(task: Task, reason: str) -> None:
    """Nothing is known against the clip: the next run tries it again."""
    stage(task.staged, [Piece(reason=reason, failed=True)])


@lru_cache(maxsize=1)
def _landmarker(task_file: Path) -> FaceLandmarker:
    """One for each process."""
    landmarker = FaceLandmarker(task_file)
    _opened.callback(_landmarker.cache_clear)
    _opened.callback(landmarker.close)
    landmarker.open()
    return landmarker


_opened = ExitStack()
"""What this process is to close when it has prepared its clips."""
