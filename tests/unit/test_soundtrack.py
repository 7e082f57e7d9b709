"""Sound beside a picture: clicks stay where they were, whatever the source, and quality is not thrown away."""

import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from aniportrait.data.media import probe, write_video
from aniportrait.data.sound import NoAudioError, read_audio
from aniportrait.data.soundtrack import SoundFile

CLICKS = (0.4, 0.97, 1.5)
"""Seconds of the picture at which sources click."""
RATES = (23.976, 24.0, 25.0, 29.97, 30.0, 50.0, 60.0)


@dataclass(frozen=True)
class Source:
    """A file with clicks; `late` says by how much its codec's container forgets the encoder's delay."""

    name: str
    codec: str
    rate: int
    copied: bool
    container: str | None = None
    picture_at: float | None = None
    sound_at: float = 0.0
    late: float = 0.0

    @property
    def begin(self) -> float | None:
        return self.picture_at


SOURCES = (
    Source("a.wav", "pcm_s16le", 44_100, copied=False),
    Source("a.flac", "flac", 48_000, copied=False),
    Source("a.ogg", "libopus", 48_000, copied=False),
    Source("a.mp3", "libmp3lame", 44_100, copied=True),
    Source("low.mp3", "libmp3lame", 11_025, copied=False),
    Source("a.m4a", "aac", 44_100, copied=True),
    Source("slow.m4a", "aac", 16_000, copied=True),
    Source("alac.m4a", "alac", 44_100, copied=False, container="mp4"),
    Source("a.aac", "aac", 44_100, copied=True, container="adts", late=1024 / 44_100),
    Source("a.mkv", "aac", 48_000, copied=True, picture_at=0.3),
    Source("late.mkv", "aac", 48_000, copied=True, picture_at=0.0, sound_at=0.2),
    Source("a.mp4", "aac", 44_100, copied=True, picture_at=0.3),
    Source("mp3.mp4", "libmp3lame", 44_100, copied=True, picture_at=0.3),
    Source("ac3.mkv", "ac3", 48_000, copied=False, picture_at=0.3),
)


def clicking(rate: int, begin: float, seconds: float = 2.5, channels: int = 2) -> np.ndarray:
    """(channels, n): 4 ms of 1.5 kHz at CLICKS after `begin`, a little noise between."""
    sound = np.random.default_rng(0).normal(0, 1e-3, (channels, round(seconds * rate))).astype(np.float32)
    length = round(0.004 * rate)
    click = np.hanning(length) * np.sin(2 * np.pi * 1500 * np.arange(length) / rate)
    for time in CLICKS:
        first = round((time + begin) * rate) - length // 2
        sound[:, first : first + length] += 0.8 * click
    return sound


def write(path: Path, source: Source, sound: np.ndarray) -> Path:
    """A file of the source's codec; with a picture if it has one, of another time than the sound's."""
    packets: list[av.Packet] = []
    with av.open(str(path), "w", format=source.container) as container:
        if source.picture_at is not None:
            picture = container.add_stream("libx264", rate=1000, options={"bf": "0"})
            picture.width, picture.height, picture.pix_fmt = 48, 48, "yuv420p"
            picture.codec_context.time_base = Fraction(1, 1000)
            for index in range(50):
                frame = av.VideoFrame.from_ndarray(np.zeros((48, 48, 3), np.uint8), format="rgb24")
                frame.pts, frame.time_base = round((source.picture_at + index / 25) * 1000), Fraction(1, 1000)
                packets += picture.encode(frame)
            packets += picture.encode(None)
        layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(sound)]
        stream = container.add_stream(source.codec, rate=source.rate, layout=layout)
        for offset in range(0, sound.shape[1], 1024):
            part = np.ascontiguousarray(sound[:, offset : offset + 1024])
            frame = av.AudioFrame.from_ndarray(part, "fltp", layout)
            frame.sample_rate, frame.time_base = source.rate, Fraction(1, source.rate)
            frame.pts = offset + round(source.sound_at * source.rate)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path


def made(folder: Path, source: Source) -> Path:
    begin = (source.picture_at or 0.0) - source.sound_at
    return write(folder / source.name, source, clicking(source.rate, begin))


def beside(out: Path, sound, seconds: float = 2.0, fps: float = 25.0) -> Path:
    """A film of that length with the sound."""
    write_video(out, [np.zeros((48, 48, 3), np.uint8)] * round(seconds * fps), fps, sound)
    return out


def sounds_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(container.streams.audio[0]) if packet.size]


def loudness(path: Path) -> tuple[np.ndarray, float]:
    """(n,) largest sample of all channels, by the times of the frames from 0 on, and the rate."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        rate = stream.codec_context.sample_rate
        line = np.zeros(0)
        for frame in container.decode(stream):
            place, samples = round(frame.time * rate), np.abs(frame.to_ndarray()).max(axis=0)
            line = np.append(line, np.zeros(max(0, place + len(samples) - len(line))))
            line[place : place + len(samples)] = samples
    return line, rate


def errors(path: Path, delay: float = 0.0) -> list[float]:
    """Seconds by which each click comes later than `delay` after its time."""
    line, rate = loudness(path)
    found = []
    for time in np.add(CLICKS, delay):
        first = round((time - 0.2) * rate)
        power = line[first : round((time + 0.2) * rate)] ** 2
        assert power.max() > 0.1, f"no click near {time} s"
        found.append((first + (power * np.arange(len(power))).sum() / power.sum()) / rate - time)
    return found


def sound_seconds(path: Path) -> float:
    """When the container says that the sound ends."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        return float((stream.start_time + stream.duration) * stream.time_base)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_a_click_stays_at_its_time_and_sound_ends_with_the_picture_at_any_rate(tmp_path, source):
    file = made(tmp_path, source)
    for fps in RATES:
        film = beside(tmp_path / "film.mp4", SoundFile(file, source.begin), fps=fps)
        assert np.abs(np.subtract(errors(film), source.late)).max() < 0.001
        assert abs(sound_seconds(film) - probe(film).duration) < 0.001


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_what_players_take_is_copied_byte_for_byte_and_the_rest_encoded_at_its_own_rate(tmp_path, source):
    file = made(tmp_path, source)
    film = beside(tmp_path / "film.mp4", SoundFile(file, source.begin))
    with av.open(str(film)) as container:
        context = container.streams.audio[0].codec_context
        assert context.codec.canonical_name == ("mp3" if "mp3" in source.codec and source.copied else "aac")
        assert (context.sample_rate, context.channels) == (source.rate, 2)
    if source.container == "adts":
        assert all(mine == theirs[7:] for mine, theirs in zip(sounds_of(film), sounds_of(file), strict=False))
    else:
        assert (set(sounds_of(film)) <= set(sounds_of(file))) == source.copied


def test_the_middle_of_a_file_begins_where_it_is_asked_for(tmp_path):
    for codec, name in (("aac", "a.mp4"), ("libmp3lame", "a.mp3"), ("flac", "a.flac")):
        source = Source(name, codec, 48_000, copied=True)
        file = write(tmp_path / name, source, clicking(48_000, 3.333, seconds=6.0))
        begin = 3.333 + (1105 / 48_000 if codec == "libmp3lame" else 0.0)  # the delay that LAME declares
        assert np.abs(errors(beside(tmp_path / "film.mp4", SoundFile(file, begin)))).max() < 0.001


def with_gap(file: Path) -> Path:
    """A copy without the packets of 0.2 s between two clicks."""
    out = file.with_name(f"gap {file.name}")
    with av.open(str(file)) as source, av.open(str(out), "w") as container:
        streams = {
            stream.index: container.add_stream_from_template(stream, opaque=True) for stream in source.streams
        }
        for packet in source.demux():
            kept = packet.stream.type == "video" or not 0.9 < (packet.pts or 0) * packet.time_base < 1.1
            if packet.size and kept:
                packet.stream = streams[packet.stream.index]
                container.mux(packet)
    return out


def with_noise(file: Path) -> Path:
    """The file, of which a twelfth, between two clicks, is noise."""
    data = file.read_bytes()
    begin, end = round(0.38 * len(data)), round(0.46 * len(data))
    file.write_bytes(data[:begin] + np.random.default_rng(0).bytes(end - begin) + data[end:])
    return file


@pytest.mark.parametrize(
    ("name", "damage"),
    [(name, with_gap) for name in ("a.mkv", "a.mp4", "mp3.mp4")]
    + [(name, with_noise) for name in ("a.mp4", "mp3.mp4")],
)
def test_gaps_and_damage_move_no_click_and_are_not_copied(tmp_path, name, damage: Callable[[Path], Path]):
    source = next(source for source in SOURCES if source.name == name)
    file = damage(made(tmp_path, source))
    film = beside(tmp_path / "film.mp4", SoundFile(file, source.begin))
    assert not set(sounds_of(film)) & set(sounds_of(file))
    assert np.abs(errors(film)).max() < 0.010
    assert abs(sound_seconds(film) - 2.0) < 0.001


def test_encoded_sound_that_is_short_or_elsewhere_goes_on_as_silence(tmp_path):
    file = made(tmp_path, SOURCES[0])
    film = beside(tmp_path / "film.mp4", file, seconds=4.0)
    assert sound_seconds(film) == pytest.approx(4.0, abs=0.001)
    line, rate = loudness(film)
    assert line[: round(2.4 * rate)].max() > 0.5
    assert line[round(2.6 * rate) :].max() < 1e-3
    elsewhere = beside(tmp_path / "film.mp4", SoundFile(file, 10.0))
    assert loudness(elsewhere)[0].max() < 1e-3
    assert sound_seconds(elsewhere) == pytest.approx(2.0, abs=0.001)
    later = beside(tmp_path / "film.mp4", SoundFile(file, -0.25))
    assert max(map(abs, errors(later, delay=0.25))) < 0.001


def test_copied_sound_that_is_short_ends_with_its_source(tmp_path):
    film = beside(tmp_path / "film.mp4", made(tmp_path, SOURCES[5]), seconds=4.0)
    assert probe(film).duration == pytest.approx(4.0)
    assert sound_seconds(film) == pytest.approx(2.5, abs=0.05)
    assert max(map(abs, errors(film))) < 0.001


def test_a_mixture_of_six_channels_does_not_clip(tmp_path):
    source = Source("a.flac", "flac", 48_000, copied=False)
    tone = 0.9 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000, dtype=np.float32)
    film = beside(
        tmp_path / "film.mp4", write(tmp_path / "a.flac", source, np.stack([tone] * 6)), seconds=1.0
    )
    line, rate = loudness(film)
    assert 0.85 < line[round(0.2 * rate) : round(0.8 * rate)].max() < 0.95


def test_a_waveform_stays_where_it_is(tmp_path):
    film = beside(tmp_path / "film.mp4", clicking(16_000, 0.0)[0])
    assert max(map(abs, errors(film))) < 0.001


@pytest.mark.parametrize("index", [0, 3, 5])
def test_the_same_frames_and_sound_give_the_same_bytes(tmp_path, index):
    file = made(tmp_path, SOURCES[index])
    first, second = beside(tmp_path / "1.mp4", file), beside(tmp_path / "2.mp4", file)
    assert first.read_bytes() == second.read_bytes()


def test_a_file_without_sound_is_said_before_a_frame_is_asked_for(tmp_path):
    silent = tmp_path / "silent.mp4"
    write_video(silent, [np.zeros((48, 48, 3), np.uint8)] * 3, 25.0)

    def frames():
        pytest.fail("a frame was asked for")
        yield

    with pytest.raises(NoAudioError, match="has no sound"):
        write_video(tmp_path / "film.mp4", frames(), 25.0, silent)
    with pytest.raises(ValueError, match="'colour' is nothing that an mp4 keeps"):
        write_video(tmp_path / "film.mp4", frames(), 25.0, metadata={"colour": "red"})
    assert list(tmp_path.iterdir()) == [silent]


def test_tags_can_be_read_back(tmp_path):
    film, tags = tmp_path / "film.mp4", {"title": "Two heads", "comment": "Synthetic: drawn by a model"}
    write_video(film, [np.zeros((48, 48, 3), np.uint8)] * 3, 25.0, metadata=tags)
    with av.open(str(film)) as container:
        assert tags.items() <= container.metadata.items()


def test_long_sound_is_never_in_memory_as_a_whole(tmp_path):
    """A minute of stereo at 44.1 kHz: 20 MB as the encoder takes it, 3.7 MB as a waveform."""
    file = write(tmp_path / "a.wav", SOURCES[0], np.zeros((2, 44_100 * 60), np.float32))
    tracemalloc.start()
    try:
        beside(tmp_path / "film.mp4", file, seconds=60.0, fps=5.0)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
        tracemalloc.reset_peak()
        audio = read_audio(file)
        assert tracemalloc.get_traced_memory()[1] < audio.nbytes + 5_000_000
    finally:
        tracemalloc.stop()
