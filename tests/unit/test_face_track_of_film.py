"""The head of a film is read for as long as it is needed, and never held in memory as a whole."""

import gc
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

from aniportrait.face.landmarks import NoFaceError
from aniportrait.pipelines import face_track


class Frame(np.ndarray):
    """Can be referred to weakly."""


@pytest.fixture
def film(monkeypatch):
    """Frames that were read, and how many of them were alive at once."""
    seen = SimpleNamespace(read=0, alive=0, most=0, face=True)

    def read_video(path, fps, report=None):
        for _ in range(10_000):
            frame = np.zeros((90, 160, 3), np.uint8).view(Frame)
            seen.read, seen.alive = seen.read + 1, seen.alive + 1
            weakref.finalize(frame, lambda: setattr(seen, "alive", seen.alive - 1))
            seen.most = max(seen.most, seen.alive)
            yield frame

    def detect(frame):
        return SimpleNamespace(
            valid=[seen.face], landmarks=[np.random.default_rng(0).uniform(0.4, 0.6, (478, 3))]
        )

    def track(squares, fps):
        return sum(1 for square in squares if square.shape[0] == square.shape[1])

    seen.landmarker = SimpleNamespace(detect=detect, track=track)
    monkeypatch.setattr(face_track, "read_video", read_video)
    gc.collect()
    return seen


def test_a_film_is_read_for_as_long_as_the_voice_lasts_frame_by_frame(film):
    assert face_track.read_track("film.mp4", 25.0, film.landmarker, 4.0) == 100
    assert film.read == 2 * 100, "once to find the face, once to follow it"
    assert film.most < 5


def test_a_film_without_a_face_is_said_to_show_none(film):
    film.face = False
    with pytest.raises(NoFaceError, match=r"film\.mp4 shows no face that can be found"):
        face_track.read_track("film.mp4", 25.0, film.landmarker, 1.0)
