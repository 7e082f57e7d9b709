"""Pose images of landmarks whose place is known."""

import numpy as np
import pytest

from aniportrait.face.draw import draw_pose_image
from aniportrait.face.topology import EDGES, FLIP_POINTS, LEFT_BROW, RIGHT_EYE

OFF_SCREEN = 2.0


def test_only_lines_with_both_ends_on_the_screen_are_drawn():
    points = np.full((468, 3), OFF_SCREEN)
    assert not draw_pose_image(points, 64, 48).any()
    first, second = EDGES[0]
    points[first, :2] = (0.25, 0.5)
    assert not draw_pose_image(points, 512, 512).any()
    points[second, :2] = (0.75, 0.5)
    image = draw_pose_image(points, 512, 512)
    np.testing.assert_array_equal(image[256, 128:385], np.tile((10, 200, 10), (257, 1)))
    assert not image[:250].any()
    assert not image[262:].any()


def test_the_far_edges_of_the_picture_are_on_it_and_nan_is_not():
    points = np.full((478, 2), np.nan)
    first, second = EDGES[0]
    points[first], points[second] = (0.0, 1.0), (1.0, 1.0)
    assert (draw_pose_image(points, 512, 512)[511] == (10, 200, 10)).all()


def test_a_picture_has_the_size_asked_for():
    points = np.random.default_rng(0).uniform(0, 1, (478, 3))
    image = draw_pose_image(points, width=96, height=64)
    assert image.shape == (64, 96, 3)
    assert image.dtype == np.uint8


def test_left_and_right_have_their_own_colours():
    def colours(vertices):
        points = np.full((478, 2), OFF_SCREEN)
        points[vertices] = np.random.default_rng(0).uniform(0.1, 0.9, (len(vertices), 2))
        image = draw_pose_image(points, 512, 512)
        return {tuple(colour) for colour in image[image.any(axis=-1)].tolist()}

    assert colours(RIGHT_EYE) == {(10, 200, 180)}
    assert colours(FLIP_POINTS[RIGHT_EYE]) == {(180, 200, 10)}
    assert colours(LEFT_BROW) == {(180, 220, 10)}


def test_too_few_points_are_refused():
    with pytest.raises(ValueError, match=r"points \(68, 2\) must have the shape"):
        draw_pose_image(np.zeros((68, 2)), 64, 64)
