"""One performance on another's face: whoever gave it, and from wherever it was filmed."""

from itertools import islice

import numpy as np
import pytest
from filmed_heads import filmed_head, still_portrait

from aniportrait.data.media import read_video
from aniportrait.data.synthetic_face import FaceRig
from aniportrait.face.head_pose import matrix_from_euler, pose_matrices
from aniportrait.face.landmarks import FaceLandmarker
from aniportrait.face.topology import BLENDSHAPES, INNER_LIP_PAIRS, LEFT_LID_PAIRS, RIGHT_LID_PAIRS
from aniportrait.pipelines.expression import ExpressionStrength
from aniportrait.pipelines.head_motion import PoseTemplate
from aniportrait.pipelines.landmark_track import LandmarkTrack
from aniportrait.pipelines.picture import prepare_picture
from aniportrait.pipelines.picture_file import read_image
from aniportrait.pipelines.reenact import driven_landmarks, steadied
from aniportrait.pipelines.retargeting import Retargeting

FPS = 12.0  # too few for smoothing: answers are exact
FRAMES = 40
TIME = np.linspace(0, 1, FRAMES)
SPOKEN = np.clip(np.sin(9 * TIME), 0, 1)
BLINK = np.exp(-(((TIME - 0.6) / 0.05) ** 2))
NOD = np.column_stack(
    [amount * np.sin(5 * TIME) for amount in (10, 14, 4, 1.5, -1.0, 0.05)]
)  # degrees, and a little to the side, down and nearer
PERFORMANCE = {
    "jaw": 0.8 * SPOKEN,
    "smile": 0.4 * SPOKEN,
    "blink_right": BLINK,
    "blink_left": BLINK,
    "brow_inner": 0.5 * SPOKEN,
}
OTHER = {"eye_size": 2.0, "mouth_width": 0.8, "jaw_width": 1.0, "chin_length": 1.0, "nose_length": -1.0}
"""Someone with larger eyes and a broader mouth."""


@pytest.fixture(scope="module")
def rig(canonical):
    return FaceRig(canonical)


def film(rig, **settings):
    return LandmarkTrack(filmed_head(rig, motion=NOD, **PERFORMANCE, **settings), FPS)


def gaps(points, pairs):
    return np.linalg.norm(points[:, pairs[:, 0]] - points[:, pairs[:, 1]], axis=-1).mean(axis=1)


@pytest.mark.parametrize(
    "driver",
    [
        {"size": 1.3},
        {"size": 1.3, "place": (0, 0, 0, 0, 0, -70)},
        {"place": (0, 0, 0, 4, -3, -30)},
        {"size": 0.8, "traits": OTHER},
    ],
    ids=["larger", "farther", "elsewhere", "other"],
)
def test_a_performance_looks_the_same_on_the_portrait_whoever_gave_it(rig, canonical, driver):
    portrait = still_portrait(rig, {"eye_distance": -1.0, "chin_width": 1.0}, place=(3, -12, 5, 1, 0, -33))
    known = driven_landmarks(portrait, film(rig), canonical)
    points = driven_landmarks(portrait, film(rig, **driver), canonical)
    moved = np.linalg.norm(known - known[0], axis=-1).max()
    assert moved > 0.05
    assert np.linalg.norm(points - known, axis=-1).max() < 0.1 * moved


def test_a_portrait_at_rest_starts_as_it_is(rig, canonical):
    portrait = still_portrait(rig, OTHER, place=(3, -12, 5, 1, 0, -33))
    points = driven_landmarks(portrait, film(rig), canonical)
    assert points[0] == pytest.approx(portrait.track.landmarks[0, :468, :2], abs=2e-3)


def test_eyes_and_lips_shut_when_the_drivers_do_whatever_their_size(rig, canonical):
    small = still_portrait(rig, {"eye_size": -1.5, "mouth_width": -1.0}, place=(0, 20, 0, 0, 0, -33))
    points = driven_landmarks(small, film(rig, traits=OTHER), canonical)
    blink, shut = int(np.argmax(BLINK)), SPOKEN < 0.01
    for lids in (RIGHT_LID_PAIRS, LEFT_LID_PAIRS):
        opening = gaps(points, lids)
        assert opening[blink] < 0.15 * opening[0]
        assert (points[:, lids[:, 0], 1] <= points[:, lids[:, 1], 1] + 1e-4).all()
    lips = gaps(points, INNER_LIP_PAIRS)
    assert lips[shut].max() < 0.1 * lips.max()
    assert np.corrcoef(lips, SPOKEN)[0, 1] > 0.98


def test_every_part_of_an_eye_is_as_far_open_of_what_it_is_as_the_drivers_whole_eye(rig, canonical):
    portrait = still_portrait(rig, {"eye_size": -1.5, "eye_tilt": 2.0}).track
    driving = film(rig, traits=OTHER).face
    retargeting = Retargeting.between(portrait, driving, canonical)
    meshes = retargeting.portrait + retargeting(driving.vertices)
    for lids in (RIGHT_LID_PAIRS, LEFT_LID_PAIRS):
        openings = meshes[:, lids[:, 0], 1] - meshes[:, lids[:, 1], 1]
        drivers = (driving.vertices[:, lids[:, 0], 1] - driving.vertices[:, lids[:, 1], 1]).mean(axis=1)
        assert openings / openings[0] == pytest.approx(np.tile(drivers[:, None] / drivers[0], 7), abs=0.01)


def test_lips_meet_though_the_drivers_rest_was_taken_for_shut_when_it_was_ajar(rig, canonical):
    ajar = np.full(FRAMES, 0.25)
    ajar[10:13] = 0.0
    driving = LandmarkTrack(filmed_head(rig, jaw=ajar, brow_inner=np.where(ajar == 0, 1.0, 0.0)), FPS)
    driving.face.blendshapes[:, BLENDSHAPES.index("jawOpen")] = 0.0
    retargeting = Retargeting.between(still_portrait(rig).track, driving.face, canonical)
    upper, lower = INNER_LIP_PAIRS.T
    assert (retargeting.driver[upper, 1] - retargeting.driver[lower, 1]).mean() > 0.1
    meshes = retargeting.portrait + retargeting(driving.face.vertices)
    openings = meshes[:, upper, 1] - meshes[:, lower, 1]
    assert np.abs(openings[10:13]).max() < 0.05
    assert openings[0].mean() > 0.25


def test_movements_about_an_eye_are_scaled_as_the_eye_and_a_mouths_breadth_as_the_mouth(rig, canonical):
    driver = rig.rest.copy()
    driver[:, 1] *= 1.5
    driver[:, 0] *= 0.8
    fold, corner, brow = 27, 61, 105
    moved = driver[None].copy()
    moved[0, [fold, corner, brow]] += (-0.1, 0.2, 0.0)
    offsets = Retargeting(rig.rest, driver, canonical)(moved)[0]
    assert offsets[fold, 1] == pytest.approx(0.2 / 1.5, abs=1e-3)
    assert offsets[corner] == pytest.approx((-0.1 / 0.8, 0.2, 0.0), abs=1e-2)
    assert offsets[brow] == pytest.approx((-0.1, 0.2, 0.0), abs=1e-2)


def test_a_smiling_portrait_speaks_with_the_drivers_mouth_not_with_a_smile_on_top(rig, canonical):
    rest, smiling = (
        still_portrait(rig, smile=np.array([amount]), jaw=np.array([amount / 4])) for amount in (0.0, 0.8)
    )
    expected, found = (driven_landmarks(portrait, film(rig), canonical) for portrait in (rest, smiling))
    smile = np.linalg.norm((smiling.track.landmarks - rest.track.landmarks)[0, :468, :2], axis=-1).max()
    assert np.linalg.norm(found - expected, axis=-1).max() < 0.4 * smile


def test_a_head_twice_as_large_in_its_picture_moves_the_portrait_no_further(rig):
    far, near = (film(rig, place=(0, 0, 0, 0, 0, z)) for z in (-60, -30))
    onto = still_portrait(rig).track.pose_matrix[0]
    motion = [PoseTemplate.of_film(filmed, onto, smoothing=1).head_pose for filmed in (far, near)]
    assert np.ptp(far.face.landmarks[:, 4, 0]) < 0.6 * np.ptp(near.face.landmarks[:, 4, 0])
    assert motion[0] == pytest.approx(motion[1], abs=0.1)


def test_a_step_to_the_side_is_one_in_the_picture_however_the_portrait_is_turned(rig):
    aside = np.zeros((2, 6))
    aside[1, 3] = 3.0
    driver = LandmarkTrack(filmed_head(rig, motion=aside, place=(0, 25, 0, 0, 0, -30)), FPS)
    turned = still_portrait(rig, place=(0, -40, 0, 1, 2, -50)).track.pose_matrix[0]
    moved = pose_matrices(PoseTemplate.of_film(driver, turned, smoothing=1).head_pose, turned)
    assert moved[1, :3, 3] - moved[0, :3, 3] == pytest.approx((3, 0, 0), abs=0.05)
    assert moved[1, :3, :3] == pytest.approx(turned[:3, :3], abs=1e-3)


def test_a_head_that_comes_nearer_grows_the_portrait_by_the_same_factor(rig):
    nearer = np.zeros((2, 6))
    nearer[1, 5] = 0.2
    driver = LandmarkTrack(filmed_head(rig, motion=nearer, place=(0, 0, 0, 2, 1, -30)), FPS)
    onto = still_portrait(rig, place=(0, 0, 0, 0, 0, -60)).track.pose_matrix[0]
    moved = pose_matrices(PoseTemplate.of_film(driver, onto, smoothing=1).head_pose, onto)
    assert moved[1, 2, 3] / moved[0, 2, 3] == pytest.approx(0.8, abs=1e-3)


def test_a_portrait_turns_from_where_it_is_or_as_the_driver_is_turned(rig):
    yaw = np.zeros((3, 6))
    yaw[:, 1] = (0, 10, 20)
    driver = LandmarkTrack(filmed_head(rig, motion=yaw, place=(0, 15, 0, 0, 0, -30)), FPS)
    onto = still_portrait(rig, place=(0, -5, 0, 0, 0, -30)).track.pose_matrix[0]
    for turn, expected in (("relative", (-5, 5, 15)), ("absolute", (15, 25, 35))):
        motion = PoseTemplate.of_film(driver, onto, turn, smoothing=1).head_pose
        turned = pose_matrices(motion, onto)[:, :3, :3]
        wanted = matrix_from_euler(np.array([(0, angle, 0) for angle in expected]))
        assert turned == pytest.approx(wanted, abs=0.02)
    with pytest.raises(ValueError, match=r"turn \(sideways\) of a head must be relative or absolute"):
        PoseTemplate.of_film(driver, onto, "sideways")


def test_speech_moves_the_mouth_and_the_film_the_eyes(rig, canonical):
    portrait = still_portrait(rig)
    silent = np.zeros((FRAMES, 468, 3), np.float32)
    points = driven_landmarks(
        portrait,
        film(rig),
        canonical,
        head_pose=np.zeros((FRAMES, 6)),
        speech=lambda begin, end: silent[begin:end],
    )
    assert np.ptp(gaps(points, INNER_LIP_PAIRS)) < 1e-5
    assert np.ptp(gaps(points, RIGHT_LID_PAIRS)) > 0.8 * gaps(points, RIGHT_LID_PAIRS)[0]


def test_without_expression_only_the_head_moves(rig, canonical):
    portrait = still_portrait(rig)
    points = driven_landmarks(portrait, film(rig), canonical, ExpressionStrength(whole=0.0))
    still = driven_landmarks(
        portrait, film(rig), canonical, ExpressionStrength(whole=0.0), np.zeros((FRAMES, 6))
    )
    assert np.ptp(points, axis=0).max() > 0.02
    assert np.ptp(still, axis=0).max() < 1e-6


def test_steadied_meshes_tremble_half_as_much_and_are_the_same_in_portions(rig):
    track = filmed_head(rig, jaw=0.5 * SPOKEN)
    noise = np.random.default_rng(5).normal(0, 0.02, track.vertices.shape).astype(np.float32)
    calm = track.vertices.copy()
    track.vertices[:] += noise
    driving = LandmarkTrack(track, 25.0)
    whole = steadied(driving, 0, FRAMES)
    portions = np.concatenate(
        [steadied(driving, begin, min(begin + 7, FRAMES)) for begin in range(0, FRAMES, 7)]
    )
    assert np.array_equal(whole, portions)
    assert np.std(np.diff(whole - calm, 2, axis=0)) < 0.55 * np.std(np.diff(noise, 2, axis=0))
    assert np.array_equal(steadied(LandmarkTrack(track, 12.0), 3, 9), track.vertices[3:9])


def test_a_blink_of_one_frame_is_not_smoothed_away(rig, canonical):
    blink = np.zeros(FRAMES)
    blink[20] = 1.0
    driving = LandmarkTrack(filmed_head(rig, blink_right=blink, blink_left=blink), 25.0)
    opening = gaps(driven_landmarks(still_portrait(rig), driving, canonical), RIGHT_LID_PAIRS)
    assert opening[20] < 0.15 * opening[0]
    assert opening[19] > 0.9 * opening[0]


@pytest.mark.shared
def test_filmed_mouths_and_eyes_open_on_the_portrait_when_their_owners_do(canonical, shared):
    with FaceLandmarker(None, "image") as landmarker:
        clip = islice(read_video(shared / "data" / "clips" / "liveportrait_d6.mp4", 25.0), 60)
        driving = LandmarkTrack(landmarker.track(clip, 25.0), 25.0)
        portrait = prepare_picture(
            read_image(shared / "data" / "portraits" / "moore_2.png"), landmarker, "portrait"
        )
    points = driven_landmarks(portrait, driving, canonical)
    filmed = driving.face.landmarks[..., :2]
    for pairs in (INNER_LIP_PAIRS, RIGHT_LID_PAIRS, LEFT_LID_PAIRS):
        assert np.corrcoef(gaps(points, pairs), gaps(filmed, pairs))[0, 1] > 0.95
