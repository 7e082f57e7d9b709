"""Sound in and out through PyAV: any container to a waveform, FLAC in memory, AAC beside a picture."""

import io
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

AAC_RATES = (16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
LARGEST_SLIP = 0.05
"""Seconds a sound's timestamps may disagree with its samples before it is taken apart and placed by time."""
LONGEST_PADDING = 0.2
"""Seconds a codec may add to the declared length."""
SEEK_MARGIN = 1.0
"""Seconds before a late beginning at which decoding starts: codecs need some blocks to settle."""
LONGEST_SLIP = 60.0
"""Seconds beyond which a jump of the timestamps is damage and is passed over."""


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
        container = av.open(str(path), "r", metadata_errors="ignore")
    except av.FFmpegError as error:
        reason = (error.strerror or str(error)).rstrip(".").lower()
        raise MediaError(f"{path} is not a video or sound file that can be read ({reason})") from error
    with container:
        yield container


def read_audio(path: str | Path, start: float | None = None, end: float | None = None) -> np.ndarray:
    """The sound of a file, (n,) float32 in [-1, 1] at 16 kHz, mono.

    Args:
        path: any container; the first sound stream is taken.
        start: the time in the file, seconds, at which the waveform begins: pass the first frame's to have
            sound and picture together. None begins with the sound itself.
        end: the time in the file at which reading may stop; the waveform can be a little longer.

    Raises:
        NoAudioError: the file has no sound stream, or one of zero samples.
    """
    return _mono(_decoded(path, SAMPLE_RATE, None, start, end))


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


def read_sound(path: str | Path) -> "Sound":
    """The sound of a file at a rate and with channels that AAC takes, for putting beside a picture."""
    with opened(path) as container:
        stream = _audio_stream(container, path)
        channels = min(2, stream.codec_context.channels or 1)
        rate = stream.codec_context.sample_rate
    rate = rate if rate in AAC_RATES else 48_000
    return Sound(_decoded(path, rate, "stereo" if channels == 2 else "mono", None), rate)


@dataclass
class Sound:
    """Sound on its way into a file.

    Args:
        samples: (channels, n) float32 in [-1, 1].
        rate: Hz.
    """

    samples: np.ndarray
    rate: int
    written: int = 0

    @staticmethod
    def of_waveform(audio: np.ndarray) -> "Sound":
        """(n,) at 16 kHz."""
        if audio.ndim != 1 or not len(audio):
            raise ValueError(f"audio of shape {audio.shape} must be (n,) with n > 0")
        return Sound(np.clip(np.asarray(audio, np.float32), -1, 1)[None], SAMPLE_RATE)

    def stream_in(self, container) -> av.AudioStream:
        """A new AAC stream of this sound's rate and channels."""
        channels = len(self.samples)
        stream = container.add_stream("aac", rate=self.rate, layout="stereo" if channels == 2 else "mono")
        stream.bit_rate = min(96_000, 5 * self.rate) * channels
        return stream

    def encode_until(self, stream: av.AudioStream, seconds: float) -> list[av.Packet]:
        """Packets of the samples from where the last call ended to `seconds`; silence after the sound's
        end."""
        end = round(seconds * self.rate)
        part = self.samples[:, self.written : end]
        if (lacking := end - self.written - part.shape[1]) > 0:
            part = np.pad(part, ((0, 0), (0, lacking)))
        layout = "stereo" if len(part) == 2 else "mono"
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(part), format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = self.rate, self.written, Fraction(1, self.rate)
        self.written = end
        return stream.encode(frame)

    def flush(self, stream: av.AudioStream) -> list[av.Packet]:
        return stream.encode(None)


def _mono(samples: np.ndarray) -> np.ndarray:
    """The mean of the channels; FFmpeg's own mixture is 3 dB louder, which cuts the peaks of loud recordings."""
    return np.clip(samples.mean(axis=0), -1, 1)


def _audio_stream(container, path: str | Path) -> av.AudioStream:
    if not container.streams.audio:
        raise NoAudioError(f"{path} has no sound")
    return container.streams.audio[0]


def _decoded(
    path: str | Path, rate: int, layout: str | None, start: float | None, stop: float | None = None
) -> np.ndarray:
    """(channels, n) float32 at `rate`, every stretch at the time its timestamps say; None keeps the channels."""
    stretches: list[tuple[float, list[np.ndarray]]] = []  # (time of its beginning in seconds, samples)
    with opened(path) as container:
        stream = _audio_stream(container, path)
        end = _declared_end(stream)
        if start is not None and start > 2 * SEEK_MARGIN and stream.time_base:
            container.seek(round((start - SEEK_MARGIN) / float(stream.time_base)), stream=stream)
        resampler = None
        due = 0.0  # when the next frame should come, seconds
        for frame in _good_audio_frames(container, stream):
            time = frame.time if frame.time is not None else due
            if stop is not None and time > stop:
                break
            if resampler is None or LARGEST_SLIP < abs(time - due) < LONGEST_SLIP:
                if resampler is not None:
                    stretches[-1][1].extend(_arrays(resampler.resample(None)))
                resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
                stretches.append((time, []))
                due = time
            due += frame.samples / frame.sample_rate
            frame.pts = None  # the resampler counts by itself
            stretches[-1][1].extend(_arrays(resampler.resample(frame)))
        if resampler is not None:
            stretches[-1][1].extend(_arrays(resampler.resample(None)))
    samples = _placed(stretches, rate, start)
    if end is not None and stretches:  # lossy codecs fill up their last block
        begin = stretches[0][0] if start is None else start
        padding = samples.shape[1] - round((end - begin) * rate)
        if 0 < padding < LONGEST_PADDING * rate:
            samples = samples[:, :-padding]
    if not samples.shape[1]:
        raise NoAudioError(f"{path} holds a sound of zero samples")
    return samples


def _declared_end(stream: av.AudioStream) -> float | None:
    if stream.duration is None or stream.time_base is None:
        return None
    return float(((stream.start_time or 0) + stream.duration) * stream.time_base)


def _placed(stretches: list[tuple[float, list[np.ndarray]]], rate: int, start: float | None) -> np.ndarray:
    """(channels, n): the stretches on one time line that begins at `start`, or at the first of them; silence
    between."""
    pieces = [(time, np.concatenate(parts, axis=1)) for time, parts in stretches if parts]
    if not pieces:
        return np.zeros((1, 0), np.float32)
    start = pieces[0][0] if start is None else start
    begins = [round((time - start) * rate) for time, _ in pieces]
    length = max(begin + piece.shape[1] for begin, (_, piece) in zip(begins, pieces, strict=True))
    line = np.zeros((pieces[0][1].shape[0], max(0, length)), np.float32)
    for begin, (_, piece) in zip(begins, pieces, strict=True):
        piece = piece[:, max(0, -begin) :]
        begin = max(0, begin)
        line[:, begin : begin + piece.shape[1]] = piece
    return line


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


def _arrays(frames: list[av.AudioFrame]) -> list[np.ndarray]:
    return [frame.to_ndarray() for frame in frames]
