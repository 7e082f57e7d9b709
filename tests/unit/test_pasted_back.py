"""The square laid over its picture: what stays, what fades, what tint goes."""

import cv2
import numpy as np
import pytest

from aniportrait.face.crop import SquareCrop
from aniportrait.pipelines.pasted_back import BORDER, MOST_TINT, PastedBack

CROPS = {
    "inside": SquareCrop(30, 20, 130, 120),
    "over two sides": SquareCrop(-10, -25, 90, 75),
    "over the others": SquareCrop(120, 60, 220, 160),
    "over all": SquareCrop(-20, -40, 230, 210),
    "a pixel": SquareCrop(5, 5, 6, 6),
}


def noise(height=140, width=200):
    return np.random.default_rng(5).integers(0, 256, (height, width, 3), dtype=np.uint8)


def scene(height=140, width=200):
    """Smooth colours from 60 to 190."""
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [np.sin(rows / 23 + k) * np.cos(columns / (17 + 4 * k)) for k in range(3)]
    return (125 + 60 * np.stack(waves, axis=-1)).astype(np.uint8)


def pasted(image, crop, frame):
    (whole,) = PastedBack(image, crop)([frame])
    return whole


@pytest.mark.parametrize("crop", CROPS.values(), ids=CROPS)
def test_the_square_of_a_picture_pasted_back_is_the_picture(crop):
    image = noise()
    np.testing.assert_array_equal(pasted(image, crop, crop.cut(image, crop.side)), image)


@pytest.mark.parametrize("size", [64, 256])
def test_a_square_of_another_size_pasted_back_is_the_picture_as_far_as_pixels_allow(size):
    image, crop = scene(), CROPS["inside"]
    difference = pasted(image, crop, crop.cut(image, size)).astype(int) - image
    assert np.abs(difference).max() <= 4
    assert np.abs(difference).mean() < 0.5


@pytest.mark.parametrize("crop", CROPS.values(), ids=CROPS)
def test_no_pixel_outside_of_the_square_changes_and_the_picture_given_neither(crop):
    image = noise()
    before = image.copy()
    whole = pasted(image, crop, np.zeros((50, 50, 3), np.uint8))
    outside = np.ones(image.shape[:2], bool)
    outside[max(crop.y0, 0) : max(crop.y1, 0), max(crop.x0, 0) : max(crop.x1, 0)] = False
    np.testing.assert_array_equal(whole[outside], image[outside])
    np.testing.assert_array_equal(image, before)


def test_the_middle_of_the_square_is_the_frame_alone():
    image, crop = scene(), CROPS["inside"]
    frame = crop.cut(image, crop.side)
    frame[20:80, 20:80] = noise(60, 60)
    np.testing.assert_array_equal(pasted(image, crop, frame)[40:100, 50:110], frame[20:80, 20:80])


@pytest.mark.parametrize("crop", [CROPS["inside"], CROPS["over two sides"], CROPS["over the others"]])
def test_a_square_of_something_else_has_no_seam(crop):
    """Of a flat picture, what steps there are come from the soft border: none is above the steepest of its ramp."""
    image = np.full((140, 200, 3), 100, np.uint8)
    whole = pasted(image, crop, np.full((64, 64, 3), 220, np.uint8)).astype(int)
    steepest = (120 - MOST_TINT) * np.pi / 2 / (BORDER * crop.side)
    for axis in (0, 1):
        assert np.abs(np.diff(whole, axis=axis)).max() <= steepest + 1
    seam = max(abs(whole[70, x] - whole[70, x - 1]).max() for x in (crop.x0, crop.x1) if 0 < x < 200)
    assert seam < steepest / 2


def test_a_side_where_the_picture_ends_does_not_fade():
    image, crop = np.full((140, 200, 3), 100, np.uint8), CROPS["over two sides"]
    whole = pasted(image, crop, np.full((64, 64, 3), 220, np.uint8))
    assert (whole[:60, :70] == 220 - MOST_TINT).all()
    assert (whole[74, :89] < 110).all()


@pytest.mark.parametrize("crop", [CROPS["inside"], CROPS["over two sides"], CROPS["over all"]])
def test_a_tint_of_the_whole_frame_is_taken_from_it(crop):
    image = scene()
    tinted = crop.cut(image, crop.side) + np.array((12, 250, 7), np.uint8)  # 250 is -6
    assert np.abs(pasted(image, crop, tinted).astype(int) - image).max() <= 1


def test_what_moves_into_a_quarter_of_the_border_tints_nothing():
    image, crop = scene(), CROPS["inside"]
    frame = crop.cut(image, crop.side)
    frame[:40, :25] = 255
    np.testing.assert_allclose(pasted(image, crop, frame)[70, 80], image[70, 80], atol=2)


def test_another_frame_alone_decides_nothing_about_this_one():
    image, crop = scene(), CROPS["inside"]
    frame = cv2.GaussianBlur(crop.cut(image, 64), (0, 0), 2)
    first, _, third = PastedBack(image, crop)(iter([frame, np.zeros_like(frame), frame]))
    np.testing.assert_array_equal(first, third)


def test_a_square_outside_of_the_picture_is_refused():
    with pytest.raises(
        ValueError, match=r"\[200, 210\) x \[20, 30\) lies outside of the picture's 200 x 140"
    ):
        PastedBack(scene(), SquareCrop(200, 20, 210, 30))
