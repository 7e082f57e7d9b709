"""Video files in and out through PyAV: upright frames at a constant rate, and mp4s with sound."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from av.error import EOFError as EndOfFile

from aniportrait.data.clip_codec import FilmWriter, decode_frames, encode_clip
from aniportrait.data.sound import (
    MediaError,
    NoAudioError,
    Sound,
    decode_flac,
    encode_flac,
    opened,
    read_audio,
    read_sound,
)

__all__ = [
    "MediaError",
    "MediaReport",
    "NoAudioError",
    "VideoInfo",
    "decode_flac",
    "decode_frames",
    "encode_clip",
    "encode_flac",
    "probe",
    "read_audio",
    "read_video",
    "write_video",
]

LONGEST_HOLD = 10.0
"""Seconds one frame may stand; a longer gap between timestamps is damage, not a slow film."""


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


@dataclass
class MediaReport:
    """What went wrong while a file was read: filled in by `read_video`, complete when its frames are used up.

    Args:
        decoded: source frames that could be decoded.
        damaged: packets or frames that could not.
        missing: frames the file announces and does not hold.
    """

    decoded: int = 0
    damaged: int = 0
    missing: int = 0
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [f"{self.decoded} frames decoded", f"{self.damaged} damaged", f"{self.missing} missing"]
        return ", ".join(parts + self.notes)

    @property
    def whole(self) -> bool:
        return not (self.damaged or self.missing or self.notes)


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
    if fps is not None and not fps > 0:
        raise ValueError(f"fps ({fps}) must be positive")
    with opened(path) as container:
        _video_stream(container, path)  # so that a bad file fails here and not at the first frame
    return _constant_rate(path, fps, report if report is not None else MediaReport())


def write_video(
    path: str | Path,
    frames: Iterable[np.ndarray],
    fps: float,
    audio: str | Path | np.ndarray | None = None,
    crf: int = 18,
) -> int:
    """Write H.264 (yuv420p) with AAC sound as an mp4 that plays while it loads; the number of frames written.

    The file appears whole or not at all. Sound is cut, or continued with silence, to the length of the
    picture. Odd sizes gain a repeated row or column.

    Args:
        path: the mp4 to write.
        frames: (h, w, 3) uint8 RGB, all of one size.
        fps: frames per second.
        audio: (n,) float waveform at 16 kHz, or a file whose sound is taken.
        crf: x264's quality, lower is better.
    """
    path = Path(path)
    sound = None
    if isinstance(audio, np.ndarray):
        sound = Sound.of_waveform(audio)
    elif audio is not None:
        sound = read_sound(audio)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with av.open(str(partial), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            film = FilmWriter(container, fps, sound, {"crf": str(crf), "preset": "medium"})
            for picture in frames:
                film.add(picture)
            film.finish()
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return film.count


def _video_stream(container, path: str | Path) -> av.VideoStream:
    if not container.streams.video:
        raise MediaError(f"{path} holds no picture")
    return container.streams.video[0]


def _first_frame(container, stream: av.VideoStream, path: str | Path) -> av.VideoFrame:
    for frame in _good_frames(container, stream, MediaReport()):
        return frame
    raise MediaError(f"{path}: not one frame can be decoded")


def _good_frames(container, stream: av.VideoStream, report: MediaReport) -> Iterator[av.VideoFrame]:
    """Every frame that decodes, in order of time, counting the others."""
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
    missing = _declared_frames(stream) - report.decoded - report.damaged
    if missing > max(2, 0.02 * report.decoded):  # rounding of the rate is no loss
        report.missing = missing


def _declared_frames(stream: av.VideoStream) -> int:
    """By length and rate: the count in the header includes frames that an edit list hides."""
    if stream.duration is None or stream.time_base is None or not stream.average_rate:
        return stream.frames or 0
    return round(stream.duration * stream.time_base * stream.average_rate)


def _constant_rate(path: str | Path, fps: float | None, report: MediaReport) -> Iterator[np.ndarray]:
    with opened(path) as container:
        stream = _video_stream(container, path)
        step = 1 / float(stream.average_rate or stream.guessed_rate or 25)
        held, held_time, start, emitted = None, 0.0, 0.0, 0
        lasts = step  # how long the held frame is shown, should it be the last
        for frame in _good_frames(container, stream, report):
            if fps is None:
                yield _upright(stream, frame)
                continue
            time = frame.time if frame.time is not None else held_time + step
            if held is None:
                held, held_time, start = frame, time, time
                continue
            if time - held_time > LONGEST_HOLD:
                report.notes.append(f"cut at {held_time - start:.2f} s: the next frame comes {time:.0f} s on")
                break
            turn = (held_time + time) / 2 - start  # until here the held frame is the nearer one
            picture = None
            while emitted / fps < turn:
                picture = _upright(stream, held) if picture is None else picture
                yield picture
                emitted += 1
            lasts = min(step, time - held_time) if time > held_time else lasts
            held, held_time = frame, max(time, held_time)
        if not report.decoded:
            raise MediaError(f"{path}: not one frame can be decoded")
        if held is not None and fps is not None:
            total = max(1, round((held_time - start + lasts) * fps))
            picture = _upright(stream, held)
            for _ in range(emitted, total):
                yield picture


def _display_size(stream: av.VideoStream, frame: av.VideoFrame) -> tuple[int, int]:
    """Width and height with square pixels, before rotation."""
    ratio = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    if not ratio or ratio <= 0:
        return frame.width, frame.height
    return max(1, round(frame.width * ratio)), frame.height


def _upright(stream: av.VideoStream, frame: av.VideoFrame) -> np.ndarray:
    width, height = _display_size(stream, frame)
    picture = frame.to_ndarray(format="rgb24", width=width, height=height)
    turns = round(frame.rotation / 90) % 4  # counterclockwise
    return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture
