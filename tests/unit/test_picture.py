"""Which face of a picture is taken, where it is cut and measured, and what is refused."""

import dataclasses
import tracemalloc

import cv2
import numpy as np
import pytest
from bright_faces import BrightSquareLandmarker, face
from scipy.spatial.transform import Rotation

from aniportrait.face.landmarks import FaceLandmarker, NoFaceError
from aniportrait.face.track import FaceTrack
from aniportrait.pipelines.picture import FURTHEST_TURN, MEASURE_SIZE, SMALLEST_FACE, prepare_picture
from aniportrait.pipelines.picture_file import read_image

BLANK = FaceTrack(
    np.zeros((1, 478, 3), np.float32),
    np.zeros((1, 468, 3), np.float32),
    np.eye(4, dtype=np.float32)[None],
    np.zeros((1, 52), np.float32),
    np.zeros(1, bool),
)


class Heads(BrightSquareLandmarker):
    """Bright squares are faces in one pose; those below a sixth of the picture are missed, as MediaPipe does."""

    def __init__(self, *degrees):
        self.degrees = degrees or (0.0, 0.0, 0.0)

    def detections(self, image):
        found = super().detections(image)
        return [seen for seen in found if seen.box[3] - seen.box[1] >= max(image.shape[:2]) / 6]

    def detect(self, image, about=None):
        faces = self.detections(image)
        if about is not None:
            middle = np.array(((about[0] + about[2]) / 2, (about[1] + about[3]) / 2))
            faces.sort(key=lambda face: float(np.linalg.norm(face.centre - middle)))
        if not faces:
            return BLANK
        pose = np.eye(4, dtype=np.float32)
        pose[:3, :3] = Rotation.from_euler("xyz", self.degrees, degrees=True).as_matrix()
        return dataclasses.replace(
            BLANK, landmarks=faces[0].landmarks[None], pose_matrix=pose[None], valid=np.ones(1, bool)
        )


class TakenForUpright(Heads):
    """What stands on its head, its darker half on top, seems upright; lying on a side it is seen as it is."""

    def detect(self, image, about=None):
        track = super().detect(image, about)
        if not track.valid[0]:
            return track
        x, y = image.shape[1] / 2, image.shape[0] / 2
        halves = (image[: int(y)], image[:, int(x) :], image[int(y) :], image[:, : int(x)])
        dark = int(
            np.argmin([half.mean() for half in halves])
        )  # quarter turns clockwise of the chin is 2 - dark
        roll = {0: 0, 1: -90, 2: 0, 3: 90}[dark]
        pose = np.eye(4, dtype=np.float32)
        pose[:2, :2] = Rotation.from_euler("z", -roll, degrees=True).as_matrix()[:2, :2]
        return dataclasses.replace(track, pose_matrix=pose[None])


def crowd():
    """Three faces on 1200 x 800 pixels: of 300 at the right, of 220 at the left, of 150 in the middle."""
    picture = face(1200, 800, 850, 100, 300)
    picture[50:270, 40:260] = face(220, 220, 0, 0, 220)
    picture[500:650, 500:650] = face(150, 150, 0, 0, 150)
    return picture


MIDDLES = {1: (1000, 250), 2: (150, 160), 3: (575, 575)}


def middle(crop):
    return (crop.x0 + crop.x1) / 2, (crop.y0 + crop.y1) / 2


@pytest.mark.parametrize("number", MIDDLES)
def test_faces_are_counted_from_the_largest_down(number):
    picture = prepare_picture(crowd(), Heads(), "crowd.png", face=number)
    assert middle(picture.crop) == pytest.approx(MIDDLES[number], abs=3)
    side = max(MEASURE_SIZE, picture.crop.side)
    assert picture.image.shape == (side, side, 3)


def test_the_largest_face_is_taken_where_none_is_named():
    assert middle(prepare_picture(crowd(), Heads(), "crowd.png").crop) == pytest.approx(MIDDLES[1], abs=3)


def test_a_larger_face_that_reaches_into_the_square_is_not_measured_in_its_place():
    picture = face(1000, 600, 100, 150, 300)
    picture[300:480, 450:630] = face(
        180, 180, 0, 0, 180
    )  # its square begins at 378, where the large face still is
    second = prepare_picture(picture, Heads(), "pair.png", face=2)
    measured = second.crop.from_crop(second.track.landmarks, 1000, 600)[0, :, :2] * (1000, 600)
    np.testing.assert_allclose(measured.mean(axis=0), (540, 390), atol=3)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (4, r"^face=4, but crowd.png shows 3 faces \(1 is the largest\)$"),
        (0, r"^face \(0\) must be at least 1, which is the largest of the picture$"),
    ],
)
def test_a_face_that_is_not_there_is_told(number, message):
    with pytest.raises(ValueError, match=message):
        prepare_picture(crowd(), Heads(), "crowd.png", face=number)


def test_the_second_of_one_face_is_told():
    with pytest.raises(NoFaceError, match=r"^face=2, but one.png shows 1 face$"):
        prepare_picture(face(), Heads(), "one.png", face=2)


@pytest.mark.parametrize("side", [70, 120, 300])
def test_a_small_face_in_a_large_picture_is_found_and_cut_from_all_its_pixels(side):
    image = face(2000, 1500, 1250, 900, side)
    picture = prepare_picture(image, Heads(), "wide.png")
    assert middle(picture.crop) == pytest.approx((1250 + side / 2, 900 + side / 2), abs=0.03 * side)
    size = max(MEASURE_SIZE, picture.crop.side)
    np.testing.assert_array_equal(picture.image, picture.crop.cut(image, size))
    assert picture.crop.side == pytest.approx(1.8 * side, rel=0.03)


@pytest.mark.parametrize("size", [(300, 300), (1, 1), (1, 5000), (5000, 2)])
def test_no_face_is_told(size):
    with pytest.raises(
        NoFaceError, match=r"^dark.png shows no face that can be found: give a picture of one face"
    ):
        prepare_picture(np.zeros((*size, 3), np.uint8), Heads(), "dark.png")


def test_a_face_of_too_few_pixels_is_told_with_their_number():
    side = SMALLEST_FACE - 4
    with pytest.raises(
        NoFaceError, match=rf"^p.png: the face is {side} pixels large, at least {SMALLEST_FACE} are"
    ):
        prepare_picture(face(100, 100, 20, 20, side), Heads(), "p.png")
    assert prepare_picture(face(100, 100, 20, 20, SMALLEST_FACE + 1), Heads(), "p.png").crop.side > 50


@pytest.mark.parametrize(("pitch", "yaw"), [(0, 57), (0, -57), (57, 0), (-42, 42)])
def test_a_face_turned_away_is_told_with_the_angle(pitch, yaw):
    with pytest.raises(
        NoFaceError, match=r"^p.png: the face is turned away by 5[67] degrees, at most 50 are"
    ):
        prepare_picture(face(), Heads(pitch, yaw, 0), "p.png")


@pytest.mark.parametrize("roll", [-50, 0, 50])
def test_a_face_turned_less_is_taken_however_it_leans(roll):
    prepare_picture(face(), Heads(0, FURTHEST_TURN - 2, roll), "p.png")


@pytest.mark.parametrize("roll", [-90, 90, 170])
def test_a_face_on_its_side_is_told_with_the_angle(roll):
    with pytest.raises(
        NoFaceError, match=rf"rotated by {abs(roll)} degrees in the picture, at most 60 are possible"
    ):
        prepare_picture(face(), Heads(0, 0, roll), "p.png")


def test_a_face_on_its_head_that_seems_upright_is_told():
    image = face(200, 200, 50, 50, 100)
    image[100:] = image[100:] // 8 * 7  # the chin's half is darker
    prepare_picture(image, TakenForUpright(), "p.png")
    with pytest.raises(NoFaceError, match="rotated by 180 degrees"):
        prepare_picture(np.ascontiguousarray(image[::-1]), TakenForUpright(), "p.png")


def test_a_picture_of_48_million_pixels_costs_a_twentieth_of_its_own_memory():
    image = face(8000, 6000, 3000, 2000, 2000)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    prepare_picture(image, Heads(), "large.png")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most - before < image.nbytes / 20


@pytest.fixture(scope="module")
def landmarker(shared):
    with FaceLandmarker() as landmarker:
        yield landmarker


@pytest.fixture(scope="module")
def portraits(shared):
    names = ("aniportrait_solo.png", "hallo_6.jpg", "moore_3.png", "sadtalker_people_0.png")
    return [read_image(shared / "data/portraits" / name) for name in names]


@pytest.mark.shared
def test_each_of_a_group_of_people_can_be_the_portrait(landmarker, portraits):
    group = np.full((1600, 2600, 3), 120, np.uint8)
    places = ((900, 60, 240), (1500, 900, 500), (100, 700, 700), (2000, 100, 400))  # x, y, side
    for portrait, (x, y, side) in zip(portraits, places, strict=True):
        group[y : y + side, x : x + side] = cv2.resize(portrait, (side, side), interpolation=cv2.INTER_AREA)
    for number, (x, y, side) in zip((4, 2, 1, 3), places, strict=True):
        crop = prepare_picture(group, landmarker, "group.png", face=number).crop
        assert x < middle(crop)[0] < x + side, number
        assert y < middle(crop)[1] < y + side, number


@pytest.mark.shared
@pytest.mark.parametrize(("turns", "degrees"), [(1, "[789]."), (2, "1[678].")])
def test_a_filmed_face_on_its_side_or_head_is_told(landmarker, portraits, turns, degrees):
    for portrait in portraits[1:]:
        with pytest.raises(NoFaceError, match=f"rotated by {degrees} degrees"):
            prepare_picture(np.ascontiguousarray(np.rot90(portrait, turns)), landmarker, "p.png")


@pytest.mark.shared
def test_every_portrait_of_the_fixtures_is_taken(landmarker, shared):
    for path in sorted((shared / "data/portraits").iterdir()):
        picture = prepare_picture(read_image(path), landmarker, path.name)
        face_height = np.ptp(picture.track.landmarks[0, :, 1])
        assert 0.4 < face_height < 0.65, path.name
