"""Faces that are small in a large picture: the landmarker alone does not notice them."""

from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from bright_faces import BrightSquareLandmarker, face

from aniportrait.data.clip_preparation import PreparationSettings, prepare_clip
from aniportrait.data.face_search import LOOK, faces_of, shrunk
from aniportrait.data.media import write_video
from aniportrait.data.sources import FaceBox, SourceClip
from aniportrait.face.landmarks import FaceLandmarker

WIDTH, HEIGHT = 1920, 1080
SCALE = LOOK / WIDTH


@dataclass
class Picture:
    """A frame at hand."""

    whole: np.ndarray

    def pixels(self, longest_side=None):
        return self.whole if longest_side is None else shrunk(self.whole, longest_side)


class ShortSighted(BrightSquareLandmarker):
    """Misses what is less than a sixth of the picture's longer side, as MediaPipe does."""

    def detections(self, image):
        found = super().detections(image)
        return [seen for seen in found if seen.box[3] - seen.box[1] >= max(image.shape[:2]) / 6]


@pytest.mark.parametrize("side", [66, 100, 190, 250, 310, 420])
@pytest.mark.parametrize(("x", "y"), [(0, 0), (311, 502), (958, 383), (1490, 650)])
@pytest.mark.parametrize("boxed", [False, True])
def test_a_face_of_any_size_is_found_once_and_in_its_place(side, x, y, boxed):
    box = FaceBox(x - 20, y - 20, x + side + 20, y + side + 20, HEIGHT, WIDTH) if boxed else None
    found, size = faces_of(Picture(face(WIDTH, HEIGHT, x, y, side)), ShortSighted(), box)
    assert size == (LOOK, 360)
    (only,) = found
    np.testing.assert_allclose(only.box, np.array((x, y, x + side, y + side)) * SCALE, atol=1.5)
    np.testing.assert_allclose(only.landmarks[0, :2] * size, (x * SCALE, y * SCALE), atol=1.5)


def test_several_small_faces_are_told_apart_largest_first():
    picture = face(WIDTH, HEIGHT, 100, 100, 90)
    picture[600:700, 1500:1600] = face(100, 100, 5, 5, 90)
    picture[500:610, 180:290] = face(110, 110, 0, 0, 110)
    found, _ = faces_of(Picture(picture), ShortSighted())
    assert [round((one.box[3] - one.box[1]) / SCALE / 10) for one in found] == [11, 9, 9]


def test_smaller_faces_are_looked_for_where_more_are_wanted_than_are_seen():
    picture = face(WIDTH, HEIGHT, 100, 100, 500)
    picture[600:700, 1500:1600] = face(100, 100, 5, 5, 90)
    for at_least, expected in ((1, [50]), (2, [50, 9]), (3, [50, 9])):
        found, _ = faces_of(Picture(picture), ShortSighted(), at_least=at_least)
        assert [round((one.box[3] - one.box[1]) / SCALE / 10) for one in found] == expected


def test_a_large_face_does_not_hide_the_small_one_that_the_box_is_about():
    picture = face(WIDTH, HEIGHT, 100, 100, 500)
    picture[600:700, 1500:1600] = face(100, 100, 5, 5, 90)
    box = FaceBox(0.77, 0.54, 0.85, 0.66, 1.0, 1.0)
    found, _ = faces_of(Picture(picture), ShortSighted(), box)
    assert [round((one.box[3] - one.box[1]) / SCALE / 10) for one in found] == [50, 9]


@pytest.mark.parametrize("box", [None, FaceBox(2000, 10, 2100, 60, HEIGHT, WIDTH)], ids=["none", "outside"])
def test_a_picture_without_a_face_has_none(box):
    dark = np.full((HEIGHT, WIDTH, 3), 20, np.uint8)
    assert faces_of(Picture(dark), ShortSighted(), box) == ([], (LOOK, 360))


@pytest.fixture(scope="module")
def landmarker(shared):
    with FaceLandmarker() as landmarker:
        yield landmarker


@pytest.fixture(scope="module")
def portrait(shared, landmarker):
    """(picture, box of its face)."""
    bgr = cv2.imread(str(shared / "data/portraits/aniportrait_aragaki.png"))
    picture = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    return picture, landmarker.detections(picture)[0].box


def wide_shot(portrait, height, x, y):
    """A grey 1080p picture with the portrait in it, its face `height` pixels high about (x, y)."""
    picture, (x0, y0, x1, y1) = portrait
    scale = height / (y1 - y0)
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    left, top = round(x - scale * (x0 + x1) / 2), round(y - scale * (y0 + y1) / 2)
    shot = np.full((HEIGHT, WIDTH, 3), 110, np.uint8)
    shot[top : top + small.shape[0], left : left + small.shape[1]] = small
    return shot


@pytest.mark.shared
@pytest.mark.parametrize("boxed", [False, True])
@pytest.mark.parametrize("height", [80, 140, 200])
def test_a_filmed_face_of_80_pixels_or_more_is_found_anywhere_in_full_hd(landmarker, portrait, height, boxed):
    for x, y in ((250, 260), (960, 540), (1400, 300), (1650, 800)):
        shot = wide_shot(portrait, height, x, y)
        box = FaceBox(x - height, y - height, x + height, y + height, HEIGHT, WIDTH) if boxed else None
        found, _ = faces_of(Picture(shot), landmarker, box)
        assert found, (x, y)
        np.testing.assert_allclose(found[0].centre / SCALE, (x, y), atol=0.1 * height)
        assert (found[0].box[3] - found[0].box[1]) / SCALE == pytest.approx(height, rel=0.2)


@pytest.mark.shared
@pytest.mark.parametrize("boxed", [False, True])
def test_a_clip_of_a_small_face_is_kept_and_its_square_is_about_the_face(
    landmarker, portrait, tmp_path, boxed
):
    write_video(tmp_path / "film.mp4", [wide_shot(portrait, 90, 1400, 300)] * 20, 25.0)
    box = FaceBox(1300, 200, 1500, 400, HEIGHT, WIDTH) if boxed else None
    settings = PreparationSettings(image_size=128)
    (piece,) = prepare_clip(SourceClip(tmp_path / "film.mp4", "p", box=box), settings, landmarker)
    assert piece.reason is None
    assert piece.figures["face_height"] == pytest.approx(90, rel=0.15)
    assert piece.sample is not None
    x0, y0, x1, y1 = piece.sample.meta.crop
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((1400, 300), abs=15)
    assert piece.sample.track.valid.all()
