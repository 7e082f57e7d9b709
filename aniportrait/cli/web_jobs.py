"""What the web page asks for: one animation at a time, of files within limits, stopped at will, leaving nothing."""

import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Lock
from typing import Any

from aniportrait.cli.sentences import sentence_of
from aniportrait.data.media import write_video
from aniportrait.data.sound import opened
from aniportrait.face.draw import draw_pose_images
from aniportrait.pipelines.animation import Performance
from aniportrait.pipelines.animator import Animator
from aniportrait.pipelines.request import Request

WORK = {"landmarks": "Measuring the film", "sampling": "Making frames"}
"""What a pipeline says it is doing -> what the page says."""
FILES = {"portrait": "The portrait", "audio": "The voice", "driving": "The video"}
"""Settings that are uploaded files -> how a visitor knows them."""
PREVIEW_SIZE = 256
LONGEST_STEP = 120
"""Seconds that a job waits, and a visitor, for one that was stopped."""
LONGEST_END = 10
"""Seconds that a job is given to end when the page does."""
PORTION = 64
"""Frames of the preview that are drawn at a time."""


@dataclass(frozen=True)
class Made:
    """What there is to see so far.

    Args:
        landmarks: a video of what the portrait will do.
        video: the result, once it is finished.
        told: one sentence on it.
    """

    landmarks: Path
    video: Path | None
    told: str


class Jobs:
    """Animations for visitors of a page, one at a time.

    Args:
        animator: the networks.
        uploads: where visitors' files lie; files elsewhere are not theirs.
        unfinished: where files are written while a job lasts.
        longest_seconds: of what is animated.
    """

    def __init__(self, animator: Animator, uploads: Path, unfinished: Path, longest_seconds: float):
        self._animator, self._longest = animator, longest_seconds
        self._uploads, self._unfinished = uploads.resolve(), unfinished
        self._one_at_a_time = Lock()
        self._running: list[tuple[str, Event]] = []

    def run(
        self, visitor: str, wishes: Mapping[str, Any], report: Callable[[float, str], None]
    ) -> Iterator[Made]:
        """The landmarks, then the result; ends early, without a word, once the visitor has stopped it.

        The files are gone when the iterator is asked for the next or is closed.

        Args:
            visitor: for `stop`.
            wishes: fields of a Request; what is None is left to it.
            report: called with the share that is done, and a sentence.

        Raises:
            ValueError: with a sentence on what the visitor has given.
        """
        stopped = Event()
        running, watch = (visitor, stopped), _Watch(stopped, report)
        self._running.append(running)
        try:
            with self._turn(watch), TemporaryDirectory(dir=self._unfinished) as folder:
                yield from self._made(Path(folder), wishes, watch)
        except _StoppedError:
            return
        except (ValueError, OSError) as error:
            raise ValueError(_with_names(sentence_of(error), wishes)) from error
        finally:
            self._running.remove(running)

    def stop(self, visitor: str) -> None:
        """End the visitor's jobs at their next steps."""
        for whose, stopped in list(self._running):
            if whose == visitor:
                stopped.set()

    def wait(self, visitor: str) -> None:
        """Return once the visitor's jobs have ended, and after LONGEST_STEP seconds if they have not."""
        deadline = time.monotonic() + LONGEST_STEP
        while any(whose == visitor for whose, _ in list(self._running)) and time.monotonic() < deadline:
            time.sleep(0.05)

    def close(self) -> None:
        """End whatever runs, and take nothing more."""
        for _, stopped in list(self._running):
            stopped.set()
        self._one_at_a_time.acquire(timeout=LONGEST_END)

    @contextmanager
    def _turn(self, watch: "_Watch") -> Iterator[None]:
        """One at a time: a queue sends the next job when a stop is asked for, while the one before is in a step."""
        deadline = time.monotonic() + LONGEST_STEP
        while not self._one_at_a_time.acquire(timeout=0.2):
            watch.say("Waiting for the video before this one to end")
            if time.monotonic() > deadline:
                raise ValueError("Another video is being made: try again when it is finished.")
        try:
            yield
        finally:
            self._one_at_a_time.release()

    def _made(self, folder: Path, wishes: Mapping[str, Any], watch: "_Watch") -> Iterator[Made]:
        watch.say("Looking at the portrait")
        animation = self._animator.animate(self._request(folder, wishes), watch)
        watch.say("Drawing landmarks")
        landmarks = draw_landmarks(animation.performance, folder / "landmarks.mp4")
        seconds = len(animation) / animation.fps
        length = f"{len(animation)} frames, {seconds:.1f} s at {animation.fps:g} per second"
        watch.say("Making frames")
        yield Made(landmarks, None, f"This is what the portrait will do: {length}.")
        video = animation.save(folder / "animation.mp4", watch)
        yield Made(landmarks, video, f"Done: {length}. The file says of itself that it is synthetic.")

    def _request(self, folder: Path, wishes: Mapping[str, Any]) -> Request:
        given = {name: value for name, value in wishes.items() if value is not None}
        for name in FILES.keys() & given.keys():
            # Gradio lets a path through that a made-up message calls no file
            if not Path(given[name]).resolve().is_relative_to(self._uploads):
                raise ValueError(f"{FILES[name]} is no file that was uploaded here.")
            given[name] = str(_kept(folder / name, Path(given[name]), FILES[name]))
        if "portrait" not in given:
            raise ValueError("Choose a portrait first: a picture that shows a face.")
        if "audio" not in given and "driving" not in given:
            raise ValueError("Choose what moves the portrait: a voice, or a video of a face.")
        wanted = given.get("duration", float("inf"))
        leading = "audio" if "audio" in given else "driving"  # the result is as long as this
        length = seconds_of(given[leading], "audio" if leading == "audio" else "video")
        if min(wanted, length) > self._longest:
            raise ValueError(
                f"{FILES[leading]} lasts {length:.1f} s, and at most {self._longest:g} s are animated here: "
                "cut it, or say in the settings how many seconds of its beginning you want."
            )
        return Request(**given | {"duration": min(wanted, self._longest)})


def _kept(folder: Path, upload: Path, known_as: str) -> Path:
    """The upload under its name in a folder of the job's: the page removes uploads by their age alone."""
    folder.mkdir()
    try:
        return Path(shutil.copy(upload, folder))
    except FileNotFoundError as error:
        raise ValueError(f"{known_as} was removed here after a while: upload it again.") from error


def draw_landmarks(performance: Performance, out: Path) -> Path:
    """A small video of what a portrait is going to do, with its sound."""
    points = performance.points
    frames = (
        frame
        for begin in range(0, len(points), PORTION)
        for frame in draw_pose_images(points[begin : begin + PORTION], PREVIEW_SIZE)
    )
    write_video(out, frames, performance.fps, performance.sound)
    return out


def seconds_of(path: str | Path, kind: str) -> float:
    """How long the first stream of that kind, audio or video, lasts by its packets: headers can be wrong or silent."""
    with opened(path) as container:
        streams = getattr(container.streams, kind)
        if not streams:
            return 0.0  # whoever reads it says so
        begin = streams[0].start_time or 0
        ends = [p.pts + (p.duration or 0) for p in container.demux(streams[0]) if p.pts is not None]
        return float((max(ends, default=begin) - begin) * (streams[0].time_base or 0))


class _StoppedError(Exception):
    """The visitor does not want it any more."""


class _Watch:
    """A pipeline's progress: told to the visitor with the time that is left, and where a job can be stopped."""

    def __init__(self, stopped: Event, report: Callable[[float, str], None]):
        self._stopped, self._report = stopped, report
        self._work, self._begin = "", 0.0

    def __call__(self, work: str, done: int, total: int) -> None:
        if work != self._work:
            self._work, self._begin = work, time.monotonic()
        left = (time.monotonic() - self._begin) * (total - done) / max(1, done)
        said = WORK.get(work, work)
        self.say(f"{said}, about {_rounded(left)} left" if 1 < done < total else said, done / max(1, total))

    def say(self, sentence: str, share: float = 0.0) -> None:
        if self._stopped.is_set():
            raise _StoppedError
        self._report(share, sentence)


def _rounded(seconds: float) -> str:
    """As exact as an estimate is."""
    if seconds < 90:
        return f"{max(5, 5 * round(seconds / 5))} s"
    return f"{round(seconds / 60)} min"


def _with_names(sentence: str, wishes: Mapping[str, Any]) -> str:
    """The sentence with uploads called by their own names and not by where they lie here."""
    for name in FILES:
        if wishes.get(name):
            file = Path(wishes[name]).name
            sentence = re.sub(rf"[^\s=]*/{re.escape(file)}", lambda _, file=file: file, sentence)
    return sentence
