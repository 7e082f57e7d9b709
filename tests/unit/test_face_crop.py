"""The face crop and its inverse, to the pixel."""

import numpy as np
import pytest

from aniportrait.face.crop import SquareCrop, face_crop


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_crop_of_its_own_size_is_the_pixels_themselves():
    image = picture(40, 60)
    np.testing.assert_array_equal(SquareCrop(7, 3, 37, 33).cut(image, 30), image[3:33, 7:37])


def test_outside_of_the_picture_its_edge_is_repeated():
    image = picture(10, 20)
    patch = SquareCrop(-4, -4, 16, 16).cut(image, 20)
    assert (patch[:4, :4] == image[0, 0]).all()
    np.testing.assert_array_equal(patch[4:14, 4:], image[:, :16])
    np.testing.assert_array_equal(patch[15, 4:], image[9, :16])


def test_landmarks_go_into_the_crop_and_back():
    crop = SquareCrop(-10, 20, 90, 120)
    landmarks = np.array([[0.0, 0.1, 0.02], [0.45, 0.6, -0.01]], dtype=np.float32)  # of 200 x 200 pixels
    inside = crop.to_crop(landmarks, 200, 200)
    np.testing.assert_allclose(inside, [[0.1, 0.0, 0.04], [1.0, 1.0, -0.02]], atol=1e-6)
    np.testing.assert_allclose(crop.from_crop(inside, 200, 200), landmarks, atol=1e-6)


def test_pixels_and_landmarks_agree_about_where_a_crop_lies():
    image = np.zeros((90, 120, 3), dtype=np.uint8)
    image[40:44, 60:64] = 255
    crop = SquareCrop(30, 20, 90, 80)
    patch = crop.cut(image, 240).astype(float)[..., 0]
    rows, columns = np.indices(patch.shape) + 0.5
    seen = np.array([(columns * patch).sum(), (rows * patch).sum()]) / patch.sum() / 240
    expected = crop.to_crop(np.array([[62 / 120, 42 / 90]]), 120, 90)[0]
    np.testing.assert_allclose(seen, expected, atol=1e-3)


@pytest.mark.parametrize("shape", [(100, 200), (333, 77)])
def test_the_face_takes_55_to_57_percent_of_its_square_and_sits_in_the_middle(shape):
    height, width = shape
    face = np.array([[0.3, 0.2], [0.5, 0.6]])
    crop = face_crop(face, width, height)
    box = np.ptp(face * (width, height), axis=0)
    assert box.max() / crop.side == pytest.approx(1 / 1.8, abs=0.015)
    middle = (np.array((crop.x0 + crop.x1, crop.y0 + crop.y1)) / 2) / (width, height)
    np.testing.assert_allclose(middle, (0.4, 0.4), atol=1 / min(shape))


def test_the_crop_of_a_clip_holds_the_face_of_every_frame():
    rng = np.random.default_rng(2)
    track = rng.uniform(0.2, 0.3, (6, 478, 3)) + np.linspace(0, 0.4, 6)[:, None, None]
    inside = face_crop(track, 640, 480, margin=0.0).to_crop(track, 640, 480)[..., :2]
    assert inside.min() > -0.01
    assert inside.max() < 1.01


def test_crops_that_are_no_squares_and_landmarks_that_are_no_points_are_refused():
    with pytest.raises(ValueError, match="must be a square"):
        SquareCrop(0, 0, 10, 11)
    with pytest.raises(ValueError, match="must be finite"):
        face_crop(np.full((478, 3), np.nan), 100, 100)
    with pytest.raises(ValueError, match=r"margin \(-0.1\)"):
        face_crop(np.zeros((478, 3)), 100, 100, margin=-0.1)
