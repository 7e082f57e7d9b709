"""Video files in and out through PyAV: upright frames at a constant rate, and mp4s with sound."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import av
import numpy as np
from av.error import EOFError as EndOfFile

from aniportrait.data.constant_rate import MediaReport, at_constant_rate
from aniportrait.data.film_file import check_tags, join_parts, write_part
from aniportrait.data.sound import MediaError, opened
from aniportrait.data.soundtrack import SoundFile, soundtrack

SEEK_MARGIN = 1.0
"""Seconds before a section at which decoding begins: indices of damaged files are not exact."""


class Still(Protocol):
    """One frame of a film that is not converted to pixels before somebody looks."""

    def pixels(self, longest_side: int | None = None) -> np.ndarray:
        """(h, w, 3) uint8 RGB, upright; shrunk, never enlarged, to `longest_side` if that is given."""
        ...


@dataclass(frozen=True)
class VideoInfo:
    """What a video file says of itself.

    Args:
        width, height: as displayed, pixels (rotation and pixel aspect applied).
        fps: average frames per second.
        duration: seconds, 0.0 when the file does not say.
        start: time of the first frame, seconds.
        has_audio: whether there is a sound stream.
    """

    width: int
    height: int
    fps: float
    duration: float
    start: float
    has_audio: bool


def probe(path: str | Path) -> VideoInfo:
    """What the video file says of itself; decodes one frame, for the rotation."""
    with opened(path) as container:
        stream = _video_stream(container, path)
        first = _first_frame(container, stream, path)
        width, height = _display_size(stream, first)
        if first.rotation % 180:
            width, height = height, width
        duration = 0.0
        if stream.duration is not None and stream.time_base is not None:
            duration = float(stream.duration * stream.time_base)
        elif container.duration is not None:
            duration = container.duration / av.time_base
        fps = float(stream.average_rate or stream.guessed_rate or 0)
        return VideoInfo(width, height, fps, duration, first.time or 0.0, bool(container.streams.audio))


def read_video(
    path: str | Path, fps: float | None = 25.0, report: MediaReport | None = None
) -> Iterator[np.ndarray]:
    """Frames of a video as (h, w, 3) uint8 RGB, upright, at a constant rate.

    Frame k is the source frame whose timestamp is nearest to k / fps after the first one, so that variable
    rates keep their speed. Damaged frames are left out, the good ones kept; `report` says what was lost. A
    file without a single good frame is a MediaError.

    Args:
        path: any container and codec that FFmpeg reads.
        fps: frames per second of the result; None keeps every source frame.
        report: filled in while the frames are read.
    """
    return pictures(read_stills(path, fps, report), lambda still: still.pixels())


def read_stills(
    path: str | Path,
    fps: float | None = 25.0,
    report: MediaReport | None = None,
    begin: float = 0.0,
    end: float = math.inf,
) -> Iterator[Still]:
    """The frames of `read_video`, or those of a section of it, not yet converted to pixels.

    A frame that is shown longer than 1 / fps comes several times, as the same object.

    Args:
        path, fps, report: see `read_video`.
        begin, end: seconds after the film's first frame; frame k is the one nearest to begin + k / fps.
    """
    if fps is not None and not fps > 0:
        raise ValueError(f"fps ({fps}) must be positive")
    if not 0 <= begin < end:
        raise ValueError(f"section {begin:g} to {end:g} s must begin at 0 or later and end after its begin")
    with opened(path) as container:
        _video_stream(container, path)  # so that a bad file fails here and not at the first frame
    return _section(path, fps, report if report is not None else MediaReport(), begin, end)


def pictures(stills: Iterator[Still], convert: Callable[[Still], np.ndarray]) -> Iterator[np.ndarray]:
    """What `convert` makes of each still, once however often the still is shown."""
    for still, times in groupby(stills):
        picture = convert(still)
        for _ in times:
            yield picture


def write_video(
    path: str | Path,
    frames: Iterable[np.ndarray],
    fps: float,
    audio: str | Path | SoundFile | np.ndarray | None = None,
    crf: int = 18,
    metadata: Mapping[str, str] | None = None,
) -> int:
    """Write H.264 (yuv420p) with sound as an mp4 that plays while it loads; the number of frames written.

    The file appears whole or not at all; the same frames and sound give the same bytes (see `write_part`). Sound is
    cut at the picture's end (see `soundtrack`). Odd sizes gain a repeated row or column.

    Args:
        path: the mp4 to write.
        frames: (h, w, 3) uint8 RGB, all of one size.
        fps: frames per second.
        audio: (n,) float waveform at 16 kHz, or a file whose sound is taken.
        crf: x264's quality, lower is better.
        metadata: title, comment and the like, which the file says of itself.
    """
    path, metadata = Path(path), metadata or {}
    sound = None if audio is None else soundtrack(audio)
    check_tags(metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        picture = Path(folder) / "picture.mp4"
        count = write_part(picture, frames, fps, crf)
        join_parts(path, [picture], fps, sound, metadata)
    return count


def _video_stream(container, path: str | Path) -> av.VideoStream:
    if not container.streams.video:
        raise MediaError(f"{path} holds no picture")
    return container.streams.video[0]


def _first_frame(container, stream: av.VideoStream, path: str | Path) -> av.VideoFrame:
    for frame in _good_frames(container, stream, MediaReport()):
        return frame
    raise MediaError(f"{path}: not one frame can be decoded")


def _good_frames(
    container, stream: av.VideoStream, report: MediaReport, whole: bool = True
) -> Iterator[av.VideoFrame]:
    """Every frame that decodes, in order of time, counting the others; of a `whole` film also the missing."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
            frames = packet.decode()
        except StopIteration:
            break
        except EndOfFile:
            break
        except av.FFmpegError:
            report.damaged += 1
            if report.damaged > 10_000:  # a demuxer that cannot get past the damage
                break
            continue
        for frame in frames:
            if frame.is_corrupt:
                report.damaged += 1
                continue
            report.decoded += 1
            yield frame
    if not whole:
        return
    missing = _declared_frames(stream) - report.decoded - report.damaged
    if missing > max(2, 0.02 * report.decoded):  # rounding of the rate is no loss
        report.missing = missing


def _declared_frames(stream: av.VideoStream) -> int:
    """By length and rate: the count in the header includes frames that an edit list hides."""
    if stream.duration is None or stream.time_base is None or not stream.average_rate:
        return stream.frames or 0
    return round(stream.duration * stream.time_base * stream.average_rate)


def _section(
    path: str | Path, fps: float | None, report: MediaReport, begin: float, end: float
) -> Iterator[Still]:
    with opened(path) as container:
        stream = _video_stream(container, path)
        step = 1 / float(stream.average_rate or stream.guessed_rate or 25)
        times = _timed(_from(container, stream, path, report, begin), stream, step)
        if fps is not None:
            times = at_constant_rate(times, fps, step, report, begin, end)
        else:
            times = (still for time, still in times if begin <= time < end)
        yield from times
    if not report.decoded:
        where = f" after {begin:g} s" if begin else ""
        raise MediaError(f"{path}: not one frame can be decoded{where}")


def _from(
    container, stream: av.VideoStream, path: str | Path, report: MediaReport, begin: float
) -> Iterator[tuple[float, av.VideoFrame]]:
    """(start of the film, frame) for every good frame from about `begin` on."""
    if begin <= SEEK_MARGIN:
        start = None
        for frame in _good_frames(container, stream, report):
            start = (frame.time or 0.0) if start is None else start
            yield start, frame
        return
    start = _first_frame(container, stream, path).time or 0.0
    container.seek(
        round((start + begin - SEEK_MARGIN) / float(stream.time_base or 1)), stream=stream, backward=True
    )
    stream.codec_context.flush_buffers()
    for frame in _good_frames(container, stream, report, whole=False):
        yield start, frame


def _timed(
    frames: Iterator[tuple[float, av.VideoFrame]], stream: av.VideoStream, step: float
) -> Iterator[tuple[float, Still]]:
    """Frames with their seconds after the start; one without a timestamp follows the frame before it."""
    time = -step
    for start, frame in frames:
        time = frame.time - start if frame.time is not None else time + step
        yield time, _DecodedStill(stream, frame)


class _DecodedStill:
    def __init__(self, stream: av.VideoStream, frame: av.VideoFrame):
        self._stream, self._frame = stream, frame

    def pixels(self, longest_side: int | None = None) -> np.ndarray:
        return _upright(self._stream, self._frame, longest_side)


def _display_size(stream: av.VideoStream, frame: av.VideoFrame) -> tuple[int, int]:
    """Width and height with square pixels, before rotation."""
    ratio = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    if not ratio or ratio <= 0:
        return frame.width, frame.height
    return max(1, round(frame.width * ratio)), frame.height


def _upright(stream: av.VideoStream, frame: av.VideoFrame, longest_side: int | None) -> np.ndarray:
    width, height = _display_size(stream, frame)
    if longest_side is not None and (scale := longest_side / max(width, height)) < 1:
        width, height = max(1, round(width * scale)), max(1, round(height * scale))
        picture = frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="AREA")
    else:
        picture = frame.to_ndarray(format="rgb24", width=width, height=height)
    turns = round(frame.rotation / 90) % 4  # counterclockwise
    return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture
