"""Scenes: where a film is cut, which part becomes a clip, and what is left out."""

import numpy as np
import pytest
from bright_faces import OneFilm, bright_faces, face, prepared, samples, tone

pytestmark = pytest.mark.usefixtures(bright_faces.__name__)


def two_scenes(first: int, second: int):
    return [face(x=10, background=90)] * first + [face(x=60)] * second


def test_of_a_clip_with_a_cut_the_longest_scene_is_kept_and_named(tmp_path):
    report = prepared(OneFilm(tmp_path, two_scenes(30, 45)), tmp_path / "out", cut_threshold=27.0)
    assert report["mended"][0]["notes"] == ["cut into 2 scenes (at 1.20 s), kept 1.20 to 3.00 s"]
    (sample,) = samples(tmp_path / "out")
    assert (sample.meta.key, sample.meta.frames, sample.meta.begin) == ("film-0", 45, 1.2)


@pytest.mark.parametrize("rest", [(8, 0), (0, 8)])
def test_the_rest_of_another_shot_at_either_end_is_cut_off(tmp_path, rest):
    before, after = ([face(x=10, background=90)] * count for count in rest)
    film = OneFilm(tmp_path, [*before, *[face(x=60)] * 60, *after])
    prepared(film, tmp_path / "out", cut_threshold=27.0)
    (sample,) = samples(tmp_path / "out")
    assert (sample.meta.frames, sample.meta.begin) == (60, rest[0] / 25)


def test_a_cut_soon_after_another_is_one(tmp_path):
    film = OneFilm(tmp_path, [*two_scenes(30, 8), *[face(x=10, background=90)] * 50])
    report = prepared(film, tmp_path / "out", cut_threshold=27.0)
    assert report["mended"][0]["notes"] == ["cut into 3 scenes (at 1.20, 1.52 s), kept 1.52 to 3.52 s"]


def test_the_longest_scene_gives_way_to_one_with_a_face(tmp_path):
    frames = [np.full((120, 160, 3), 100, np.uint8)] * 45 + [face()] * 30
    report = prepared(OneFilm(tmp_path, frames), tmp_path / "out", cut_threshold=20.0)
    assert report["samples"][0]["seconds"] == 1.2
    assert "kept 1.80 to 3.00 s" in report["mended"][0]["notes"][0]


def test_all_scenes_become_clips_of_their_own_each_with_its_own_square(tmp_path):
    source = OneFilm(tmp_path, two_scenes(30, 45), tone(3))
    prepared(source, tmp_path / "out", cut_threshold=27.0, scenes="all")
    first, second = samples(tmp_path / "out")
    assert [(s.meta.key, s.meta.frames, s.meta.begin) for s in (first, second)] == [
        ("film-0--1", 30, 0.0), ("film-0--2", 45, 1.2),
    ]  # fmt: skip
    assert first.meta.crop != second.meta.crop
    assert first.audio is not None
    assert second.audio is not None
    np.testing.assert_allclose(second.audio[4000:5000], tone(3)[19200 + 4000 : 19200 + 5000], atol=0.1)


def test_a_long_scene_becomes_clips_of_equal_length(tmp_path):
    prepared(OneFilm(tmp_path, [face()] * 125), tmp_path / "out", longest_seconds=2.0)
    assert [(s.meta.key, s.meta.frames, s.meta.begin) for s in samples(tmp_path / "out")] == [
        ("film-0--1", 42, 0.0), ("film-0--2", 41, 1.68), ("film-0--3", 42, 3.32),
    ]  # fmt: skip


def test_sections_of_one_film_are_clips_with_their_own_sound(tmp_path):
    clicks = np.zeros(6 * 16_000, np.float32)
    clicks[[24_000, 72_000]] = 0.9  # at 1.5 and 4.5 s
    source = OneFilm(tmp_path, [face()] * 150, clicks, sections=((1.0, 2.0), (4.0, 5.0), (9.0, 10.0)))
    report = prepared(source, tmp_path / "out")
    assert "beyond the end" in report["dropped"][0]["reason"]
    first, second = samples(tmp_path / "out")
    for sample in (first, second):
        assert sample.meta.frames == 25
        assert sample.audio is not None
        assert abs(int(np.abs(sample.audio).argmax()) - 8_000) < 200, "half a second into the section"
    assert first.meta.source == second.meta.source == "film.mp4"
