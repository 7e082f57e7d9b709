"""Sound beside a picture: the source's own packets where mp4 players take them, else AAC; never all of it in memory."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import av
import numpy as np
from av.container import OutputContainer

from aniportrait.data.schema import SAMPLE_RATE
from aniportrait.data.sound import NoAudioError, SoundBlock, opened, seek_sound, sound_blocks, sound_stream

AAC_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
LOWEST_MP3_RATE = 16_000
"""Hz; an mp4 takes no MP3 below it."""
COPIED_PROFILES = ("LC", "HE-AAC", "HE-AACv2")
"""Of AAC, what browsers play."""
PREROLL = {"aac": 2, "mp3": 4}
"""Packets before the beginning that a decoder wants: those of AAC overlap, MP3 keeps bits in earlier ones."""
BLOCK = 4096
"""Samples of a waveform that are encoded together."""


@dataclass(frozen=True)
class SoundFile:
    """The sound of a file from a moment on.

    Args:
        path: any container; the first sound stream is taken.
        begin: the time in the file, seconds, that meets the picture's beginning: of a film's sound the time of its
            first frame. None is the beginning of the sound.
    """

    path: str | Path
    begin: float | None = None


class Soundtrack(Protocol):
    """Sound that can be put beside a picture, as often as wanted."""

    def packets(self, container: OutputContainer, seconds: float) -> Iterator[av.Packet]:
        """Add a stream to an mp4 open for writing; its packets in order of time, for a picture of that length."""
        ...


def soundtrack(sound: str | Path | SoundFile | np.ndarray) -> Soundtrack:
    """A soundtrack of a file, or of an (n,) float waveform at 16 kHz.

    AAC and MP3 are copied as they are, up to the picture's end; a shorter track ends with its source. Sound with
    missing or damaged packets and every other codec is placed by its timestamps and encoded at its own rate, with
    silence where there is none.

    Raises:
        NoAudioError: the file has no sound.
    """
    if isinstance(sound, np.ndarray):
        if sound.ndim != 1 or not len(sound):
            raise ValueError(f"audio of shape {sound.shape} must be (n,) with n > 0")
        return _Waveform(sound)
    file = sound if isinstance(sound, SoundFile) else SoundFile(sound)
    with opened(file.path) as container:
        stream = sound_stream(container, file.path)
        first = next(sound_blocks(container, stream, SAMPLE_RATE), None)
    if first is None:
        raise NoAudioError(f"{file.path} holds a sound of zero samples")
    return _Recording(Path(file.path), first.stretch if file.begin is None else file.begin)


@dataclass(frozen=True, eq=False)
class _Waveform:
    samples: np.ndarray

    def packets(self, container: OutputContainer, seconds: float) -> Iterator[av.Packet]:
        return _encoded(container, SAMPLE_RATE, "mono", self._blocks(), 0.0, seconds)

    def _blocks(self) -> Iterator[SoundBlock]:
        for offset in range(0, len(self.samples), BLOCK):
            part = np.asarray(self.samples[None, offset : offset + BLOCK], np.float32)
            yield SoundBlock(0.0, offset, np.clip(part, -1, 1))


@dataclass(frozen=True)
class _Recording:
    path: Path
    begin: float

    def packets(self, container: OutputContainer, seconds: float) -> Iterator[av.Packet]:
        with opened(self.path) as source:
            stream = sound_stream(source, self.path)
            if _players_take(stream) and _whole(_source_packets(self.path, self.begin, seconds)):
                copy = container.add_stream_from_template(stream)
                return self._copied(copy, seconds)
            rate, channels = stream.codec_context.sample_rate, stream.codec_context.channels
        rate = rate if rate in AAC_RATES else 48_000
        layout = "mono" if channels == 1 else "stereo"
        return _encoded(container, rate, layout, self._blocks(rate, layout, seconds), self.begin, seconds)

    def _copied(self, stream: av.AudioStream, seconds: float) -> Iterator[av.Packet]:
        """What lies before the beginning gets negative times, which an mp4's edit list hides."""
        rate = stream.codec_context.sample_rate  # ticks of the source can be as long as a packet
        for packet in _source_packets(self.path, self.begin, seconds):
            begin, end = (round(_seconds(packet, ticks) * rate) for ticks in (0, packet.duration or 0))
            shift, packet.time_base = round(self.begin * rate), Fraction(1, rate)
            packet.pts = packet.dts = begin - shift
            packet.duration = max(1, min(end - shift, round(seconds * rate)) - packet.pts)
            packet.stream = stream
            yield packet

    def _blocks(self, rate: int, layout: str, seconds: float) -> Iterator[SoundBlock]:
        with opened(self.path) as source:
            stream = sound_stream(source, self.path)
            # Integers: for them FFmpeg scales a mixture of many channels to what cannot clip.
            yield from sound_blocks(source, stream, rate, layout, "s32p", self.begin, self.begin + seconds)


def _players_take(stream: av.AudioStream) -> bool:
    if _codec(stream) == "aac":
        return stream.profile in COPIED_PROFILES
    return _codec(stream) == "mp3" and stream.codec_context.sample_rate >= LOWEST_MP3_RATE


def _codec(stream: av.AudioStream) -> str:
    return stream.codec_context.codec.canonical_name


def _source_packets(path: Path, begin: float, seconds: float) -> Iterator[av.Packet]:
    """The packets that sound within a section of the file, and PREROLL before them."""
    with opened(path) as source:
        stream = sound_stream(source, path)
        stream.codec_context.options = {"flags2": "+skip_manual"}  # who decodes them sees all they hold
        seek_sound(source, stream, begin)
        before: deque[av.Packet] = deque(maxlen=PREROLL[_codec(stream)])
        for packet in source.demux(stream):
            if not packet.size:  # the end
                return
            if packet.pts is not None:
                if _seconds(packet) >= begin + seconds:
                    return
                if _seconds(packet, packet.duration or 0) <= begin:
                    before.append(packet)
                    continue
            yield from before
            before.clear()
            yield packet


def _whole(packets: Iterator[av.Packet]) -> bool:
    """Whether there are packets, each decodes, and each begins where the last one ended."""
    due = None
    try:
        for packet in packets:
            frames = packet.decode()
            if packet.pts is None or not packet.duration or packet.is_corrupt or len(frames) != 1:
                return False
            time, length = _seconds(packet), frames[0].samples / frames[0].sample_rate
            if due is not None and abs(time - due) > length / 2:
                return False
            due = time + length
    except av.FFmpegError:
        return False
    return due is not None


def _seconds(packet: av.Packet, ticks: int = 0) -> float:
    """When the packet begins, or so many ticks later."""
    return float(((packet.pts or 0) + ticks) * packet.time_base)


def _encoded(
    container: OutputContainer,
    rate: int,
    layout: str,
    blocks: Iterator[SoundBlock],
    begin: float,
    seconds: float,
) -> Iterator[av.Packet]:
    stream = container.add_stream("aac", rate=rate, layout=layout)
    stream.bit_rate = min(128_000, 5 * rate) * (2 if layout == "stereo" else 1)
    return _aac(stream, _line(blocks, rate, begin, round(seconds * rate), stream.codec_context.channels))


def _aac(stream: av.AudioStream, line: Iterator[np.ndarray]) -> Iterator[av.Packet]:
    context, written = stream.codec_context, 0
    for samples in line:
        kind = "s32p" if samples.dtype == np.int32 else "fltp"
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), kind, context.layout.name)
        frame.sample_rate, frame.pts = context.sample_rate, written
        frame.time_base = Fraction(1, context.sample_rate)
        written += samples.shape[1]
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _line(
    blocks: Iterator[SoundBlock], rate: int, begin: float, length: int, channels: int
) -> Iterator[np.ndarray]:
    """`length` samples from `begin` on without a gap: silence where nothing sounds; of two at a time the first read."""
    written, kind = 0, np.dtype(np.float32)
    for block in blocks:
        place, kind = block.place(begin, rate), block.samples.dtype
        samples = block.samples[:, max(0, written - place) : max(0, length - place)]
        if samples.shape[1]:
            yield from _silence(place - written, channels, kind)
            yield samples
            written = max(place, written) + samples.shape[1]
        if written >= length:
            return
    yield from _silence(length - written, channels, kind)


def _silence(length: int, channels: int, kind: np.dtype) -> Iterator[np.ndarray]:
    for offset in range(0, length, BLOCK):
        yield np.zeros((channels, min(BLOCK, length - offset)), kind)
