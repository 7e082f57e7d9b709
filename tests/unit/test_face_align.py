"""Faces cut out for recognition lie where they should."""

import numpy as np
import pytest

from aniportrait.face.align import ARCFACE_POINTS, arcface_crop, five_points, similarity
from aniportrait.face.topology import POINTS


def turned(points, degrees=20.0, scale=1.7, shift=(60.0, 15.0)):
    angle = np.deg2rad(degrees)
    rotation = np.array(((np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))))
    return scale * points @ rotation.T + shift


def landmarks_at(five, width, height):
    """(478, 3) in [0, 1] with eyes, nose and mouth at these pixels; the rest is in a corner."""
    points = np.zeros((POINTS, 3))
    right, left, nose, *corners = (np.array(five) + 0.5) / (width, height)
    for outer, inner, eye in ((33, 133, right), (263, 362, left)):
        points[outer, :2], points[inner, :2] = eye - np.array((0.01, 0.002)), eye + np.array((0.01, 0.002))
    points[1, :2], points[61, :2], points[291, :2] = nose, *corners
    return points


def test_five_points_are_eyes_nose_and_mouth_in_pixels():
    points = five_points(landmarks_at(ARCFACE_POINTS, 200, 120), 200, 120)
    np.testing.assert_allclose(points, ARCFACE_POINTS, atol=1e-9)


def test_a_similarity_undoes_what_turned_scaled_and_moved_points():
    move = similarity(turned(ARCFACE_POINTS), ARCFACE_POINTS)
    angle = np.deg2rad(-20.0)
    np.testing.assert_allclose(
        move[:, :2] * 1.7, ((np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle)))
    )
    np.testing.assert_allclose(turned(ARCFACE_POINTS) @ move[:, :2].T + move[:, 2], ARCFACE_POINTS, atol=1e-9)


def test_a_similarity_does_not_mirror_and_leaves_least_squares():
    mirrored = ARCFACE_POINTS * (-1, 1)
    move = similarity(mirrored, ARCFACE_POINTS)
    assert np.linalg.det(move[:, :2]) > 0

    def error(changed):
        return np.square(mirrored @ changed[:, :2].T + changed[:, 2] - ARCFACE_POINTS).sum()

    scale, angle = np.array(((1.001, 0), (0, 1.001))), np.array(((1, -0.001), (0.001, 1)))
    for change in (scale, angle, np.linalg.inv(scale), np.linalg.inv(angle)):
        assert error(np.column_stack((move[:, :2] @ change, move[:, 2]))) > error(move)
    for side in ((0.01, 0), (0, 0.01)):
        assert error(move + np.column_stack((np.zeros((2, 2)), side))) > error(move)


def test_a_crop_has_eyes_nose_and_mouth_where_the_network_expects_them():
    places = np.rint(turned(ARCFACE_POINTS)).astype(int)
    picture = np.zeros((260, 240, 3), np.uint8)
    for index, (x, y) in enumerate(places):
        picture[y - 2 : y + 3, x - 2 : x + 3, index % 3] = 255
    crop = arcface_crop(picture, landmarks_at(places, 240, 260))
    assert crop.shape == (112, 112, 3)
    for index, (x, y) in enumerate(np.rint(ARCFACE_POINTS).astype(int)):
        assert crop[y, x].argmax() == index % 3
        assert crop[y, x].max() > 200
    assert (crop.max(axis=-1) > 100).sum() == pytest.approx(5 * 25 / 1.7**2, rel=0.35)


def test_a_crop_is_black_outside_of_the_picture():
    picture = np.full((60, 60, 3), 200, np.uint8)
    crop = arcface_crop(picture, landmarks_at(ARCFACE_POINTS - 40, 60, 60))
    assert not crop[:39].any()
    assert (crop[41:99, 41:99] == 200).all()
