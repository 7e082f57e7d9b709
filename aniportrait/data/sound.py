"""Sound in and out through PyAV: any container to a waveform or to blocks with their time, FLAC in memory."""

import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.error import EOFError as EndOfFile

from aniportrait.data.schema import SAMPLE_RATE

LARGEST_SLIP = 0.05
"""Seconds a sound's timestamps may disagree with its samples before it is taken apart and placed by time."""
LONGEST_PADDING = 0.2
"""Seconds a codec may add to the declared length."""
SEEK_MARGIN = 1.0
"""Seconds before a late beginning at which decoding starts: codecs need some blocks to settle."""
LONGEST_SLIP = 60.0
"""Seconds beyond which a jump of the timestamps is damage and is passed over."""
FORMATS = ",".join(
    (
        *(
            "mov",
            "mp4",
            "matroska",
            "webm",
            "avi",
            "mpegts",
            "mpeg",
            "mpegvideo",
            "m4v",
            "flv",
            "asf",
            "rm",
            "ogg",
        ),
        *(
            "mxf",
            "wtv",
            "dv",
            "ivf",
            "nut",
            "gif",
            "apng",
            "h264",
            "hevc",
            "mjpeg",
            "yuv4mpegpipe",
            "rawvideo",
        ),
        *(
            "mp3",
            "wav",
            "w64",
            "flac",
            "aac",
            "ac3",
            "eac3",
            "aiff",
            "caf",
            "au",
            "amr",
            "amrnb",
            "amrwb",
            "loas",
        ),
        *("dts", "tta", "ape", "wv", "mpc", "mpc8", "voc", "gsm"),
        *("png_pipe", "jpeg_pipe", "webp_pipe", "bmp_pipe", "tiff_pipe"),
    )
)
"""What is opened: no playlists and the like, which name other files for the library to read."""
GROWTH = 60 * SAMPLE_RATE
"""Samples by which a waveform grows while it is read."""


OF_THE_MACHINE = {
    *(errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.ETIMEDOUT),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM),
}
"""What says nothing of a file: it may be readable the next time."""


class MediaError(ValueError):
    """A file that is no video or sound, or too damaged to use."""


class NoAudioError(MediaError):
    """A file without sound where sound is needed."""


@contextmanager
def opened(path: str | Path) -> Iterator[InputContainer]:
    """An open container; one sentence naming the file if it cannot be opened."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    if path.is_dir():
        raise MediaError(f"{path} is a folder, not a video or sound file")
    if path.stat().st_size == 0:
        raise MediaError(f"{path} is empty (0 bytes)")
    try:
        container = av.open(str(path), "r", metadata_errors="ignore", options={"format_whitelist": FORMATS})
    except av.FFmpegError as error:
        if error.errno in OF_THE_MACHINE:
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        reason = (error.strerror or str(error)).rstrip(".").lower()
        raise MediaError(f"{path} is not a video or sound file that can be read ({reason})") from error
    with container:
        yield container


def read_audio(
    path: str | Path, start: float | None = None, end: float | None = None, longest: float | None = None
) -> np.ndarray:
    """The sound of a file, (n,) float32 in [-1, 1] at 16 kHz, mono.

    Args:
        path: any container; the first sound stream is taken.
        start: the time in the file, seconds, at which the waveform begins: pass the first frame's to have
            sound and picture together. None begins with the sound itself.
        end: the time in the file at which reading may stop; the waveform can be a little longer.
        longest: seconds of waveform after which reading may stop, likewise.

    Raises:
        NoAudioError: the file has no sound stream, or one of zero samples.
    """
    line, length = np.zeros(0, np.float32), 0
    with opened(path) as container:
        stream = sound_stream(container, path)
        declared = _declared_end(stream)
        for block in sound_blocks(container, stream, SAMPLE_RATE, start=start, stop=end):
            start = block.stretch if start is None else start
            place, part = block.place(start, SAMPLE_RATE), _mono(block.samples)
            part, place = part[max(0, -place) :], max(0, place)
            length = max(length, place + len(part))
            if length > len(line):  # in place: parts that are joined at the end would take the memory twice
                line.resize(length + GROWTH, refcheck=False)
            line[place : place + len(part)] = part
            if longest is not None and length >= longest * SAMPLE_RATE:
                break
    if declared is not None and start is not None:  # lossy codecs fill up their last block
        padding = length - round((declared - start) * SAMPLE_RATE)
        length -= padding if 0 < padding < LONGEST_PADDING * SAMPLE_RATE else 0
    if length <= 0:
        raise NoAudioError(f"{path} holds a sound of zero samples")
    line.resize(length, refcheck=False)
    return line


def encode_flac(audio: np.ndarray) -> bytes:
    """(n,) waveform in [-1, 1] at 16 kHz -> bytes of a 16-bit FLAC; the same samples give the same bytes."""
    if audio.ndim != 1 or not len(audio):
        raise ValueError(f"audio of shape {audio.shape} must be (n,) with n > 0")
    scaled = np.clip(np.round(np.asarray(audio, np.float64) * 32768), -32768, 32767).astype(np.int16)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=SAMPLE_RATE, layout="mono")
        for begin in range(0, len(scaled), 4096):
            frame = av.AudioFrame.from_ndarray(
                scaled[None, begin : begin + 4096], format="s16", layout="mono"
            )
            frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, begin, Fraction(1, SAMPLE_RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def decode_flac(data: bytes) -> np.ndarray:
    """Bytes of `encode_flac` -> (n,) float32 in [-1, 1]."""
    try:
        with av.open(io.BytesIO(data), "r") as container:
            parts = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    except (av.FFmpegError, IndexError) as error:
        raise MediaError(f"a sound of {len(data)} bytes cannot be decoded: {error}") from error
    return np.concatenate(parts).astype(np.float32) / 32768


@dataclass(frozen=True)
class SoundBlock:
    """Consecutive samples of a file and their place in it.

    Args:
        stretch: when the unbroken stretch began that they belong to, seconds in the file.
        offset: how many of the stretch's samples came before them.
        samples: (channels, n).
    """

    stretch: float
    offset: int
    samples: np.ndarray

    def place(self, start: float, rate: int) -> int:
        """Number of the first sample on a line that begins at `start`, seconds in the file."""
        return round((self.stretch - start) * rate) + self.offset


def sound_stream(container: InputContainer, path: str | Path) -> av.AudioStream:
    """The first sound of an open file."""
    if not container.streams.audio:
        raise NoAudioError(f"{path} has no sound")
    return container.streams.audio[0]


def sound_blocks(
    container: InputContainer,
    stream: av.AudioStream,
    rate: int,
    layout: str | None = None,
    sample_format: str = "fltp",
    start: float | None = None,
    stop: float | None = None,
) -> Iterator[SoundBlock]:
    """The sound of an open file, a block at a time; a stretch begins anew where timestamps leave a gap.

    Args:
        container, stream: the file and its sound.
        rate: Hz of the result.
        layout: of the result's channels; None keeps the file's.
        sample_format: FFmpeg's name of a planar format.
        start: seconds in the file; from shortly before it on.
        stop: seconds in the file at which reading ends.
    """
    if start is not None:
        seek_sound(container, stream, start)
    resampler, shape = None, None
    stretch, offset = 0.0, 0
    due = 0.0  # when the next frame should come, seconds
    for frame in _good_audio_frames(container, stream):
        time = frame.time if frame.time is not None else due
        if stop is not None and time > stop:
            break
        changed = shape != (frame.format.name, frame.layout.name, frame.sample_rate)
        if resampler is None or changed or LARGEST_SLIP < abs(time - due) < LONGEST_SLIP:
            if resampler is not None:
                yield from _blocks(resampler, None, stretch, offset)
            resampler = av.AudioResampler(format=sample_format, layout=layout, rate=rate)
            shape = (frame.format.name, frame.layout.name, frame.sample_rate)
            stretch, offset, due = time, 0, time
        due += frame.samples / frame.sample_rate
        frame.pts = None  # the resampler counts by itself
        for block in _blocks(resampler, frame, stretch, offset):
            offset += block.samples.shape[1]
            yield block
    if resampler is not None:
        yield from _blocks(resampler, None, stretch, offset)


def seek_sound(container: InputContainer, stream: av.AudioStream, start: float) -> None:
    """Go to shortly before `start`, seconds in the file, where it is worth it."""
    if start > 2 * SEEK_MARGIN and stream.time_base:
        container.seek(round((start - SEEK_MARGIN) / float(stream.time_base)), stream=stream)


def _blocks(
    resampler: av.AudioResampler, frame: av.AudioFrame | None, stretch: float, offset: int
) -> Iterator[SoundBlock]:
    for resampled in resampler.resample(frame):
        yield SoundBlock(stretch, offset, resampled.to_ndarray())
        offset += resampled.samples


def _good_audio_frames(container, stream: av.AudioStream) -> Iterator[av.AudioFrame]:
    packets = container.demux(stream)
    failures = 0
    while failures < 10_000:
        try:
            yield from next(packets).decode()
        except (StopIteration, EndOfFile):
            return
        except av.FFmpegError:
            failures += 1


def _mono(samples: np.ndarray) -> np.ndarray:
    """The mean of the channels; FFmpeg's own mixture is 3 dB louder, which cuts the peaks of loud recordings."""
    return np.clip(samples.mean(axis=0), -1, 1)


def _declared_end(stream: av.AudioStream) -> float | None:
    if stream.duration is None or stream.time_base is None:
        return None
    return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
