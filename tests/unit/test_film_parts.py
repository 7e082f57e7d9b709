"""Films written part by part: stopped anywhere they become the same file, and never a half one."""

import logging
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from aniportrait.data.film_file import TAGS
from aniportrait.data.film_parts import FilmParts
from aniportrait.data.media import probe, read_video

PARTS = ([0, 1, 2, 3, 4], [5], [6, 7, 8], [9, 10, 11, 12, 13, 14])
"""Numbers of the frames of each part."""


def numbered(index: int, size: int = 64) -> np.ndarray:
    """A picture whose brightness is its number."""
    return np.full((size, size, 3), 10 + 12 * index, np.uint8)


def number(picture: np.ndarray) -> int:
    return round((float(picture.mean()) - 10) / 12)


def add(film: FilmParts, part: int) -> None:
    state = {"latents": torch.full((2, 3), float(part)), "next": torch.tensor(part + 1)}
    film.add(np.stack([numbered(index) for index in PARTS[part]]), state)


def tone(seconds: float) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * 16_000)) / 16_000)).astype(np.float32)


def finished(out: Path, fps: float = 25.0) -> Path:
    with FilmParts(out, fps, "a") as film:
        for part in range(len(PARTS)):
            add(film, part)
        film.finish(tone(1.0), {"title": "fifteen"})
    return out


def packets(path: Path) -> list[av.Packet]:
    with av.open(str(path)) as container:
        return [packet for packet in container.demux(container.streams.video[0]) if packet.size]


def test_a_film_stopped_after_every_part_is_the_same_file(tmp_path):
    whole, stopped = finished(tmp_path / "whole.mp4"), tmp_path / "stopped.mp4"
    for part in range(len(PARTS)):
        with FilmParts(stopped, 25.0, "a") as film:
            assert film.frames == sum(map(len, PARTS[:part]))
            assert film.state.get("next", torch.tensor(0)) == part
            add(film, part)
        assert not stopped.exists()
    with FilmParts(stopped, 25.0, "a") as film:
        assert torch.equal(film.state["latents"], torch.full((2, 3), 3.0))
        film.finish(tone(1.0), {"title": "fifteen"})
    assert stopped.read_bytes() == whole.read_bytes()
    assert sorted(tmp_path.iterdir()) == [stopped, whole], "the parts are gone"


@pytest.mark.parametrize("fps", [23.976, 25.0, 30_000 / 1001, 60.0])
def test_a_joined_film_has_every_frame_at_its_time_and_a_keyframe_for_each_part(tmp_path, fps):
    film = packets(finished(tmp_path / "a.mp4", fps))
    step = 1 / Fraction(fps).limit_denominator(1001)
    assert [packet.pts * packet.time_base for packet in film] == [index * step for index in range(15)]
    assert [index for index, packet in enumerate(film) if packet.is_keyframe] == [0, 5, 6, 9]
    assert [number(picture) for picture in read_video(tmp_path / "a.mp4", None)] == list(range(15))
    assert probe(tmp_path / "a.mp4").duration == pytest.approx(15 / fps, abs=1e-3)


def test_joining_encodes_nothing_again(tmp_path):
    out = tmp_path / "a.mp4"
    noise = np.random.default_rng(0).integers(0, 255, (2, 6, 64, 64, 3), dtype=np.uint8)
    with FilmParts(out, 25.0, "a") as film:
        for part in noise:
            film.add(part, {})
        parts = [bytes(packet) for file in sorted(tmp_path.glob(".*/*.mp4")) for packet in packets(file)]
        film.finish()
    assert [bytes(packet) for packet in packets(out)] == parts


def test_any_frame_can_be_sought(tmp_path):
    with av.open(str(finished(tmp_path / "a.mp4"))) as container:
        stream = container.streams.video[0]
        for wanted in (14, 5, 0, 8, 13):
            container.seek(round(wanted / 25 / stream.time_base), stream=stream)
            shown = next(frame for frame in container.decode(stream) if frame.time > (wanted - 0.5) / 25)
            assert number(shown.to_ndarray(format="rgb24")) == wanted


def test_a_part_without_its_state_is_made_again(tmp_path):
    out = tmp_path / "a.mp4"
    with FilmParts(out, 25.0, "a") as film:
        add(film, 0)
        journal = (tmp_path / ".a.mp4.parts" / "state.safetensors").read_bytes()
        add(film, 1)
    (tmp_path / ".a.mp4.parts" / "state.safetensors").write_bytes(journal)  # as if killed between the two
    with FilmParts(out, 25.0, "a") as film:
        assert film.frames == 5
        assert film.state["next"] == 1
        assert not (tmp_path / ".a.mp4.parts" / "000001.mp4").exists()


@pytest.mark.parametrize("settings", [("b", 25.0, 18), ("a", 30.0, 18), ("a", 25.0, 20)])
def test_parts_of_other_settings_are_thrown_away_and_it_is_said(tmp_path, caplog, settings):
    identity, fps, crf = settings
    with FilmParts(tmp_path / "a.mp4", 25.0, "a") as film:
        add(film, 0)
    with caplog.at_level(logging.WARNING), FilmParts(tmp_path / "a.mp4", fps, identity, crf) as film:
        assert film.frames == 0
        assert not film.state
    assert "begun anew" in caplog.text
    assert not list(tmp_path.glob(".*/*.mp4"))


@pytest.mark.parametrize("name", ["000000.mp4", "state.safetensors"])
@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"x" * 9 + data[9:]])
def test_damaged_parts_are_thrown_away_and_it_is_said(tmp_path, caplog, name, damage):
    with FilmParts(tmp_path / "a.mp4", 25.0, "a") as film:
        add(film, 0)
        add(film, 1)
    file = tmp_path / ".a.mp4.parts" / name
    file.write_bytes(damage(file.read_bytes()))
    with caplog.at_level(logging.WARNING), FilmParts(tmp_path / "a.mp4", 25.0, "a") as film:
        assert film.frames == 0
    assert "begun anew" in caplog.text
    assert "damaged" in caplog.text


def test_a_film_has_one_maker_at_a_time(tmp_path):
    with FilmParts(tmp_path / "a.mp4", 25.0, "a") as film:
        add(film, 0)
        with pytest.raises(ValueError, match=r"a\.mp4 is being made by another process"):
            FilmParts(tmp_path / "a.mp4", 25.0, "a")
    assert FilmParts(tmp_path / "a.mp4", 25.0, "a").frames == 5


def test_bad_frames_and_empty_films_are_said_and_leave_the_parts_as_they_were(tmp_path):
    with FilmParts(tmp_path / "a.mp4", 25.0, "a") as film:
        with pytest.raises(ValueError, match="at least one frame"):
            film.finish()
        add(film, 0)
        with pytest.raises(ValueError, match="frames after frame 5 are 32x32, those before are 64x64"):
            film.add([numbered(0, 32)], {})
        with pytest.raises(ValueError, match="at least one frame"):
            film.add([], {})
        with pytest.raises(ValueError, match="'colour' is nothing that an mp4 keeps"):
            film.finish(metadata={"colour": "red"})
        add(film, 1)
        film.finish()
    assert len(packets(tmp_path / "a.mp4")) == 6


def test_every_tag_can_be_read_back(tmp_path):
    texts = {name: f"the {name}, drawn: café" for name in TAGS}
    with FilmParts(tmp_path / "a.mp4", 25.0, "a") as film:
        add(film, 0)
        film.finish(metadata=texts)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert texts.items() <= container.metadata.items()


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """A disk that is full after so many bytes of a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_no_half_film_and_the_film_can_be_finished_later(tmp_path):
    whole, out = finished(tmp_path / "whole.mp4"), tmp_path / "a.mp4"
    with FilmParts(out, 25.0, "a") as film:
        with files_no_larger_than(0), pytest.raises(OSError, match="too large"):
            add(film, 0)
        for part in range(len(PARTS)):
            add(film, part)
        for size in (0, whole.stat().st_size // 2, whole.stat().st_size - 1):
            with files_no_larger_than(size), pytest.raises(OSError, match="too large"):
                film.finish(tone(1.0), {"title": "fifteen"})
            assert sorted(tmp_path.iterdir()) == [tmp_path / ".a.mp4.parts", whole]
        film.finish(tone(1.0), {"title": "fifteen"})
    assert out.read_bytes() == whole.read_bytes()
