"""What preparation reads: a video file or a folder of frames, seen alike."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import av
import cv2
import numpy as np

from aniportrait.data.constant_rate import MediaReport, at_constant_rate
from aniportrait.data.media import Still, VideoInfo, probe, read_stills
from aniportrait.data.schema import SAMPLE_RATE
from aniportrait.data.sound import MediaError, NoAudioError, opened, read_audio

FRAME_SUFFIXES = (".png", ".jpg", ".jpeg")


class Film(Protocol):
    """Pictures and sound of one clip's file."""

    info: VideoInfo

    def stills(
        self, fps: float, report: MediaReport, begin: float = 0.0, end: float = math.inf
    ) -> Iterator[Still]:
        """See `read_stills`."""
        ...

    def sound(self, begin: float, seconds: float) -> np.ndarray:
        """(n,) waveform from `begin` seconds after the first frame on, at most `seconds` long.

        Raises:
            NoAudioError: there is none.
        """
        ...


def open_film(path: Path, frame_rate: float | None = None) -> Film:
    """A video file, or a folder of numbered pictures shown at `frame_rate`."""
    if not path.is_dir():
        return VideoFile(path)
    if frame_rate is None:
        raise MediaError(
            f"{path} is a folder of frames and nothing says at how many a second they were taken"
        )
    return FrameFolder(path, frame_rate)


def film_seconds(path: Path, frame_rate: float | None = None) -> float | None:
    """How long a film says it is, without decoding any of it; None where it does not say, 0.0 where there is none."""
    try:
        if path.is_dir():
            return len(_numbered(path)) / frame_rate if frame_rate else 0.0
        with opened(path) as container:
            if not container.streams.video:
                return 0.0
            return container.duration / av.time_base if container.duration else None
    except (MediaError, OSError):
        return 0.0


class VideoFile:
    """A film in a container that FFmpeg reads."""

    def __init__(self, path: Path):
        self.path = path
        self.info = probe(path)

    def stills(
        self, fps: float, report: MediaReport, begin: float = 0.0, end: float = math.inf
    ) -> Iterator[Still]:
        return read_stills(self.path, fps, report, begin, end)

    def sound(self, begin: float, seconds: float) -> np.ndarray:
        start = self.info.start + begin
        return read_audio(self.path, start, start + seconds)[: round(seconds * SAMPLE_RATE)]


class FrameFolder:
    """A folder of pictures named by their number, as VFHQ is released; a number that lacks is a frame that lacks.

    Args:
        path: the folder.
        frame_rate: pictures per second.
    """

    def __init__(self, path: Path, frame_rate: float):
        self.path, self.frame_rate = path, frame_rate
        self._frames = _numbered(path)
        if not self._frames:
            raise MediaError(f"{path} holds no frame ({', '.join(FRAME_SUFFIXES)})")
        first = next((picture for picture in map(_readable, self._frames) if picture is not None), None)
        if first is None:
            raise MediaError(f"{path}: not one of {len(self._frames)} frames can be read")
        height, width = first.shape[:2]
        seconds = (self._frames[-1].number - self._frames[0].number + 1) / frame_rate
        self.info = VideoInfo(width, height, frame_rate, seconds, start=0.0, has_audio=False)

    def stills(
        self, fps: float, report: MediaReport, begin: float = 0.0, end: float = math.inf
    ) -> Iterator[Still]:
        return at_constant_rate(self._timed(report), fps, 1 / self.frame_rate, report, begin, end)

    def sound(self, begin: float, seconds: float) -> np.ndarray:
        raise NoAudioError(f"{self.path} is a folder of frames without sound")

    def _timed(self, report: MediaReport) -> Iterator[tuple[float, Still]]:
        first, last = self._frames[0].number, self._frames[-1].number
        report.missing = max(0, last - first + 1 - len(self._frames))
        for frame in self._frames:
            picture = _readable(frame)
            if picture is None:
                report.damaged += 1
                continue
            report.decoded += 1
            yield (frame.number - first) / self.frame_rate, _LoadedStill(picture)


@dataclass(frozen=True)
class _NumberedFrame:
    path: Path
    number: int


@dataclass(frozen=True, eq=False)
class _LoadedStill:
    picture: np.ndarray  # (h, w, 3) BGR

    def pixels(self, longest_side: int | None = None) -> np.ndarray:
        picture = self.picture
        height, width = picture.shape[:2]
        if longest_side is not None and (scale := longest_side / max(height, width)) < 1:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def _numbered(folder: Path) -> list[_NumberedFrame]:
    """The pictures of a folder by their number, which need not have leading zeros."""
    frames = [
        _NumberedFrame(file, int(match[0]))
        for file in folder.iterdir()
        if file.suffix.lower() in FRAME_SUFFIXES and (match := re.search(r"\d+$", file.stem))
    ]
    return sorted(frames, key=lambda frame: (frame.number, frame.path.name))


def _readable(frame: _NumberedFrame) -> np.ndarray | None:
    """(h, w, 3) BGR, or None for a file that is no picture."""
    data = np.fromfile(frame.path, np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
