"""A film's file: pictures encoded part by part, the parts joined as they are, sound beside them."""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from aniportrait.data.clip_codec import FilmWriter, frame_rate
from aniportrait.data.sound import MediaError, opened
from aniportrait.data.soundtrack import Soundtrack
from aniportrait.data.whole_file import whole_file

TAGS = ("title", "artist", "album", "date", "comment", "genre", "copyright", "description", "synopsis")
"""What an mp4 can say of itself; it drops other names without a word."""


def write_part(path: Path, frames: Iterable[np.ndarray], fps: float, crf: int) -> int:
    """Encode frames as a silent mp4 that begins with a keyframe; their number.

    The same frames give the same bytes, from 64 pixels a side on: of less x264 weighs memory that it never wrote.

    Args:
        path: the file to write.
        frames: (h, w, 3) uint8 RGB, all of one size.
        fps: frames per second.
        crf: x264's quality, lower is better.
    """
    # No B-frames: x264 weighs them by what other work left in its memory, and the same frames give other bytes.
    quality = {"crf": str(crf), "preset": "medium", "bf": "0"}
    with av.open(str(path), "w", format="mp4") as container:
        film = FilmWriter(container, fps, quality)
        for picture in frames:
            film.add(picture)
        film.finish()
    return film.count


def join_parts(
    out: Path,
    parts: Sequence[Path],
    fps: float,
    sound: Soundtrack | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write the frames of `parts` of `write_part`, not encoded again, as one mp4 that plays while it loads.

    The file appears whole or not at all; the same parts, sound and metadata give the same bytes.

    Args:
        out: the mp4 to write.
        parts: at least one, of the same fps and frame size.
        fps: frames per second.
        sound: cut at the picture's end.
        metadata: title, comment and the like, see `TAGS`.
    """
    check_tags(metadata or {})
    options = {"movflags": "+faststart"}
    with whole_file(out) as partial, av.open(str(partial), "w", format="mp4", options=options) as container:
        container.metadata.update(metadata or {})
        with opened(parts[0]) as first:
            stream = container.add_stream_from_template(first.streams.video[0], opaque=True)
        tracks = [_pictures(parts, stream, frame_rate(fps))]
        if sound is not None:
            seconds = sum(part_frames(part) for part in parts) / float(frame_rate(fps))
            tracks.append(sound.packets(container, seconds))
        # In order of time, or the muxer keeps one track in memory while it waits for the other.
        for packet in heapq.merge(*tracks, key=_time):
            container.mux(packet)


def check_tags(metadata: Mapping[str, str]) -> None:
    """A ValueError for what an mp4 would not keep."""
    for name, text in metadata.items():
        if name not in TAGS:
            raise ValueError(f"metadata {name!r} is nothing that an mp4 keeps; it keeps {', '.join(TAGS)}")
        if not text:
            raise ValueError(f"metadata {name!r} is empty: leave it out")


def part_frames(part: Path) -> int:
    """How many frames a part holds."""
    with opened(part) as container:
        return container.streams.video[0].frames


def part_size(part: Path) -> str:
    """Width x height of a part's frames."""
    with opened(part) as container:
        stream = container.streams.video[0]
        return f"{stream.width}x{stream.height}"


def _pictures(parts: Sequence[Path], stream: av.VideoStream, rate: Fraction) -> Iterator[av.Packet]:
    index, settings = 0, stream.codec_context.extradata
    for part in parts:
        with opened(part) as container:
            source = container.streams.video[0]
            if source.codec_context.extradata != settings:
                raise MediaError(f"{part} was encoded with other settings than {parts[0]}")
            for packet in container.demux(source):
                if packet.size:
                    packet.pts = packet.dts = index
                    packet.duration, packet.time_base, packet.stream = 1, 1 / rate, stream
                    index += 1
                    yield packet


def _time(packet: av.Packet) -> float:
    return float((packet.dts or 0) * packet.time_base)
