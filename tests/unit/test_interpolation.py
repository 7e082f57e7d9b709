"""Frames between sampled frames, with pictures whose landmarks say where everything must be."""

import weakref

import cv2
import numpy as np
import pytest

from aniportrait.face.canonical import CanonicalFace
from aniportrait.face.topology import INNER_LIPS, LEFT_EYE, RIGHT_EYE
from aniportrait.pipelines.interpolation import interpolated, keyframe_indices

SIZE = 256
MARKED = (4, 61, 291, 10, 152, 234, 454, 33, 263, 17, 50, 280)
"""Tip of the nose, corners of mouth and eyes, top, chin, sides, under the lip, cheeks."""


@pytest.fixture
def face(canonical: CanonicalFace) -> np.ndarray:
    """(468, 2) in [0, 1]: a face of half the picture's height that looks ahead."""
    points = canonical.vertices[:, :2] * (1, -1)
    points = points - (points.min(axis=0) + points.max(axis=0)) / 2
    return points / np.ptp(points[:, 1]) / 2 + 0.5


def opened(face: np.ndarray, ring: np.ndarray, opening: float) -> np.ndarray:
    """The face with a ring's halves this far apart, in picture heights, and what is near drawn along.

    Below zero they cross.
    """
    points, half = face.copy(), len(ring) // 2
    lower, upper = ring[1:half], ring[:half:-1]
    points[lower] = points[upper] = (points[upper] + points[lower]) / 2
    above = np.sign(points[ring[[0, half]], 1].mean() - points[:, 1])
    above[upper], above[lower], above[ring[[0, half]]] = 1, -1, 0
    near = np.exp(-np.square((points - points[ring].mean(axis=0)) / 0.15).sum(axis=1))
    near[ring] = 1
    points[:, 1] -= opening / 2 * above * near
    return points


def dots(points: np.ndarray) -> np.ndarray:
    """Black with a white dot at each marked landmark."""
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    squares = [((x - u) ** 2 + (y - v) ** 2) / 8 for u, v in points[list(MARKED)] * SIZE]
    return np.repeat(np.rint(255 * np.exp(-np.min(squares, axis=0)))[..., None], 3, axis=2).astype(np.uint8)


def dot_near(picture: np.ndarray, place: np.ndarray, reach: int = 8) -> np.ndarray:
    """Centre of what is bright about a place in [0, 1], pixels."""
    left, top = np.floor(place * SIZE).astype(int) - reach
    y, x = np.mgrid[top : top + 2 * reach, left : left + 2 * reach]
    bright = picture[y, x, 0] * (picture[y, x, 0] > 40.0)
    return np.array(((x + 0.5) * bright, (y + 0.5) * bright)).sum(axis=(1, 2)) / bright.sum()


def filled(points: np.ndarray, ring: np.ndarray) -> np.ndarray:
    """White with a ring's inside black."""
    picture = np.full((SIZE, SIZE, 3), 255, np.uint8)
    return cv2.fillPoly(picture, [np.rint(points[ring] * SIZE).astype(np.int32)], (0, 0, 0))


def noise(count: int, height: int = 32, width: int = 32) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8))


def wandering(face: np.ndarray, frames: int) -> np.ndarray:
    return face + np.random.default_rng(1).normal(0, 0.02, (frames, 1, 2))


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("frames", range(1, 8))
def test_every_frame_comes_once_and_keyframes_are_untouched(face, frames, stride):
    indices = keyframe_indices(frames, stride)
    keyframes = noise(len(indices))
    result = list(interpolated(keyframes, wandering(face, frames), stride))
    assert len(result) == frames
    for index, keyframe in zip(indices, keyframes, strict=True):
        np.testing.assert_array_equal(result[index], keyframe)


def test_the_last_frame_is_a_keyframe_though_the_stride_misses_it():
    assert keyframe_indices(7, 3).tolist() == [0, 3, 6]
    assert keyframe_indices(8, 3).tolist() == [0, 3, 6, 7]
    assert keyframe_indices(1, 3).tolist() == [0]


def test_a_face_at_rest_is_cross_faded(face):
    first, last = noise(2, 48, 64)
    result = list(interpolated([first, last], np.tile(face, (4, 1, 1)), 3))
    for index in (1, 2):
        expected = first * (1 - index / 3) + last * (index / 3)
        assert np.abs(result[index] - expected).max() <= 1


@pytest.mark.parametrize(
    ("before", "between", "after"),
    [
        pytest.param((0, 0), (0.02, 0.01), (0.04, 0.02), id="straight"),
        pytest.param((0, 0), (0.02, -0.03), (0, 0), id="there and back"),
        pytest.param((0.02, 0.03), (-0.03, 0.02), (-0.01, -0.03), id="round a corner"),
    ],
)
def test_dots_at_landmarks_are_where_the_landmarks_of_their_own_frame_are(face, before, between, after):
    points = np.array([face + before, face * (0.97, 1.03) + between, face + after])
    frames = list(interpolated([dots(points[0]), dots(points[2])], points, 2))
    for landmark in MARKED:
        found = dot_near(frames[1], points[1, landmark])
        assert np.abs(found - points[1, landmark] * SIZE).max() < 1


def test_a_face_half_out_of_the_picture_moves_as_the_whole_one_does(face):
    points = face + np.array([(-0.5, 0), (-0.47, 0.02), (-0.5, 0)])[:, None]
    frames = list(interpolated([dots(points[0]), dots(points[2])], points, 2))
    for landmark in (291, 263, 280):
        found = dot_near(frames[1], points[1, landmark])
        assert np.abs(found - points[1, landmark] * SIZE).max() < 1


@pytest.mark.parametrize("between", [0.0, -0.01])
@pytest.mark.parametrize("ring", [INNER_LIPS, RIGHT_EYE, LEFT_EYE], ids=["lips", "right lids", "left lids"])
def test_what_closes_for_one_frame_closes_even_where_its_halves_cross(face, ring, between):
    points = np.array([opened(face, ring, 0.06), opened(face, ring, between), opened(face, ring, 0.06)])
    keyframes = [filled(points[0], ring), filled(points[2], ring)]
    between = list(interpolated(keyframes, points, 2))[1]
    assert (between < 128).sum() < 0.15 * (keyframes[0] < 128).sum()


def test_a_mouth_that_opens_shows_the_inside_of_the_neighbour_that_is_open(face):
    points = np.array([opened(face, INNER_LIPS, opening) for opening in (0.0, 0.05, 0.06)])
    keyframes = [np.full((SIZE, SIZE, 3), 255, np.uint8), filled(points[2], INNER_LIPS)]
    x, y = np.rint(points[1, [13, 14]].mean(axis=0) * SIZE).astype(int)
    assert list(interpolated(keyframes, points, 2))[1][y, x].max() < 30


def test_pictures_need_not_be_square(face):
    points = face + np.array([(0, 0), (0.1, 0.0), (0.1, 0.0)])[:, None]
    picture = np.zeros((100, 300, 3), np.uint8)
    picture[:, 145:155] = 255
    between = list(interpolated([picture, np.roll(picture, 30, axis=1)], points, 2))[1]
    assert abs(np.average(np.arange(300), weights=between[50, :, 0].astype(float)) - 179.5) < 1


def test_keyframes_are_drawn_when_they_are_needed_and_two_are_held(face):
    alive = []

    def keyframes():
        for _ in range(4):
            assert sum(frame() is not None for frame in alive) <= 1
            frame = noise(1)[0].copy()
            alive.append(weakref.ref(frame))
            yield frame
            del frame

    for index, _ in enumerate(interpolated(keyframes(), wandering(face, 10), 3)):
        assert len(alive) == 1 + -(-index // 3)
        del _


@pytest.mark.parametrize("count", [2, 4])
def test_another_number_of_keyframes_than_the_points_ask_for_is_an_error(face, count):
    with pytest.raises(ValueError, match=r"keyframes .*must be 3, as many as the points ask for"):
        list(interpolated(noise(count), wandering(face, 5), 2))


def test_keyframes_of_two_sizes_are_an_error(face):
    with pytest.raises(ValueError, match=r"keyframe 1 has the shape \(16, 16, 3\), not \(32, 32, 3\)"):
        list(interpolated([*noise(1), *noise(1, 16, 16)], wandering(face, 3), 2))


@pytest.mark.parametrize(
    ("points", "sentence"),
    [
        (np.zeros((3, 400, 2)), "468 or more"),
        (np.zeros((3, 468, 3)), "468 or more"),
        (np.full((3, 468, 2), np.nan), "finite"),
        (np.zeros((0, 468, 2)), r"frames \(0\)"),
    ],
)
def test_points_that_are_none_are_refused_before_a_keyframe_is_drawn(points, sentence):
    with pytest.raises(ValueError, match=sentence):
        interpolated(iter(()), points, 2)
