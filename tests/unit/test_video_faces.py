"""Scores of the faces in videos: errors, movements and blinks that are put in come out."""

import math

import numpy as np
import pytest
import torch
from scored_videos import FPS, face, video

from aniportrait.evaluation.average_keypoint_distance import AverageKeypointDistance
from aniportrait.evaluation.blink_rate import BlinkRate
from aniportrait.evaluation.blink_rate_error import BlinkRateError
from aniportrait.evaluation.blinks import BlinkThresholds
from aniportrait.evaluation.landmark_distance import LandmarkDistance
from aniportrait.evaluation.landmark_jitter import LandmarkJitter
from aniportrait.evaluation.landmark_score import LandmarkScore
from aniportrait.evaluation.lip_vertex_error import LipVertexError
from aniportrait.evaluation.mesh_score import MeshScore
from aniportrait.evaluation.mouth_opening_correlation import MouthOpeningCorrelation
from aniportrait.evaluation.mouth_opening_spread import MouthOpeningSpread
from aniportrait.evaluation.squared_lip_vertex_error import SquaredLipVertexError
from aniportrait.evaluation.upper_face_dynamics_deviation import UpperFaceDynamicsDeviation
from aniportrait.evaluation.velocity_error import VelocityError
from aniportrait.evaluation.vertex_error import VertexError
from aniportrait.evaluation.video_metric import NotScoredError
from aniportrait.evaluation.video_pair import VideoPair
from aniportrait.face.topology import BLENDSHAPES, INNER_LIP_PAIRS, LIPS, UPPER_FACE


def score(metric, generated, real=None):
    metric.update(metric.measure(VideoPair("clip", generated, real)))
    return metric.compute().item()


def mesh(frames=4):
    return np.random.default_rng(0).normal(size=(frames, 468, 3)).astype(np.float32)


def test_mesh_errors_are_in_millimetres():
    real = mesh()
    ours = real.copy()
    ours[:, LIPS[3]] += (0.3, 0.0, 0.4)  # 5 mm
    ours[:, UPPER_FACE[0], 1] += 0.2
    videos = video(4, vertices=ours), video(4, vertices=real)
    assert score(MeshScore(LipVertexError()), *videos) == pytest.approx(5.0, abs=1e-4)
    assert score(MeshScore(SquaredLipVertexError()), *videos) == pytest.approx(25.0, abs=1e-4)
    assert score(MeshScore(VertexError("all")), *videos) == pytest.approx(7.0 / 468, abs=1e-4)


def test_a_score_has_its_formulas_unit_and_direction():
    metric = MeshScore(SquaredLipVertexError())
    assert (metric.unit, metric.digits, metric.higher_is_better) == ("mm²", 3, False)
    assert MeshScore(MouthOpeningCorrelation()).higher_is_better is True
    assert LandmarkScore(AverageKeypointDistance()).unit == "px of 256"


def test_frames_without_a_face_in_either_video_are_left_out_and_counted():
    real = mesh()
    ours = real + np.float32(0.1)
    ours[1], ours[2] = 50.0, 90.0
    metric = MeshScore(VertexError("all"))
    pair = VideoPair(
        "clip",
        video(4, vertices=ours, valid=[True, False, True, True]),
        video(4, vertices=real, valid=[True, True, False, True]),
    )
    metric.update(metric.measure(pair))
    metric.update(metric.measure(VideoPair("other", video(4, vertices=real + 0.3), video(4, vertices=real))))
    assert metric.per_clip.tolist() == pytest.approx([math.sqrt(3), 3 * math.sqrt(3)], abs=1e-4)
    assert (metric.frames, metric.left_out) == (8, 2)
    assert metric.note == "2 of 8 frames show no face and are left out"
    metric.reset()
    assert metric.frames == metric.left_out == 0
    assert metric.note == ""


def test_what_a_clip_cannot_say_is_said():
    none = [False] * 4
    with pytest.raises(NotScoredError, match="none of its 4 frames shows a face"):
        MeshScore(LipVertexError()).measure(VideoPair("clip", video(4), video(4, valid=none)))
    with pytest.raises(NotScoredError, match="no real video"):
        MeshScore(LipVertexError()).measure(VideoPair("clip", video(4)))
    with pytest.raises(NotScoredError, match="the real face does not move"):
        MeshScore(MouthOpeningSpread()).measure(VideoPair("clip", video(4), video(4)))
    with pytest.raises(NotScoredError, match="no two neighbouring frames"):
        MeshScore(VelocityError()).measure(
            VideoPair("clip", video(4), video(4, valid=[True, False, True, False]))
        )
    with pytest.raises(NotScoredError, match="no four neighbouring frames"):
        LandmarkJitter().measure(VideoPair("clip", video(3)))


def test_measuring_changes_nothing():
    metric = MeshScore(LipVertexError())
    pair = VideoPair("clip", video(4, vertices=mesh() + 0.1), video(4, vertices=mesh()))
    assert metric.measure(pair) == metric.measure(pair)
    assert len(metric.per_clip) == metric.frames == 0
    assert len(metric.score.values) == 0


def talking(opening_mm):
    """Lips whose facing inner points are so far apart, (f,) mm."""
    vertices = np.zeros((len(opening_mm), 468, 3), np.float32)
    vertices[:, INNER_LIP_PAIRS[:, 0], 1] = np.asarray(opening_mm)[:, None] / 10
    return vertices


def test_a_mouth_that_opens_half_as_far_at_the_right_time():
    opening = 5 + 4 * np.sin(np.arange(50) * 2 * np.pi / 25)
    half, real = video(50, vertices=talking(opening / 2)), video(50, vertices=talking(opening))
    quarter_late = video(50, vertices=talking(5 + 4 * np.sin((np.arange(50) - 6.25) * 2 * np.pi / 25)))
    assert score(MeshScore(MouthOpeningSpread()), half, real) == pytest.approx(0.5, abs=1e-5)
    assert score(MeshScore(MouthOpeningCorrelation()), half, real) == pytest.approx(1.0, abs=1e-5)
    assert score(MeshScore(MouthOpeningCorrelation()), quarter_late, real) == pytest.approx(0.0, abs=1e-5)


def brows(amplitude_mm, frames=40):
    """The upper face on a sine about rest, whole periods of 20 frames."""
    vertices = mesh(1).repeat(frames, axis=0)
    wave = amplitude_mm / 10 * np.sin(2 * np.pi * np.arange(frames) / 20)
    vertices[:, UPPER_FACE, 1] += wave[:, None].astype(np.float32)
    return vertices


def test_upper_face_dynamics_of_a_sine_and_the_sign_of_their_deviation():
    # The squared sine of amplitude a is a^2 / 2 (1 - cos): its deviation over time is a^2 / sqrt(8).
    still, one, two = (video(40, vertices=brows(a)) for a in (0.0, 1.0, 2.0))
    deviation = MeshScore(UpperFaceDynamicsDeviation())
    assert score(deviation, still, one) == pytest.approx(1 / math.sqrt(8), abs=1e-4)
    deviation.reset()
    assert score(deviation, two, one) == pytest.approx((1 - 4) / math.sqrt(8), abs=1e-4)
    deviation.reset()
    mouth_moves, other_shape = brows(1.0), brows(1.0) + mesh(1)
    mouth_moves[::2, LIPS] += 1.0
    assert score(deviation, video(40, vertices=mouth_moves), one) == pytest.approx(0.0, abs=1e-4)
    deviation.reset()
    assert score(deviation, video(40, vertices=other_shape), one) == pytest.approx(0.0, abs=1e-4)


def test_upper_face_dynamics_leave_out_frames_without_a_face():
    ours = brows(1.0)
    ours[20:] = 70.0
    valid = np.arange(40) < 20
    broken = video(40, vertices=ours, valid=valid)
    figure = score(MeshScore(UpperFaceDynamicsDeviation()), broken, video(40, vertices=brows(0.0)))
    assert figure == pytest.approx(-1 / math.sqrt(8), abs=1e-4)


def test_landmark_distances_are_in_percent_of_the_real_faces_size_the_mouths_too():
    real = face(0.1, 0.3, 0.5, 0.7)  # the lips reach x = 0.6: the face is 0.5 x 0.4
    ours = real.copy()
    ours[LIPS] += (0.03, 0.04)
    videos = video(3, landmarks=ours), video(3, landmarks=real)
    lips = 100 * 0.05 / math.sqrt(0.5 * 0.4)
    assert score(LandmarkScore(LandmarkDistance("lips")), *videos) == pytest.approx(lips, rel=1e-5)
    every = lips * len(LIPS) / 478
    assert score(LandmarkScore(LandmarkDistance()), *videos) == pytest.approx(every, rel=1e-5)


def test_average_keypoint_distance_is_of_each_coordinate_in_pixels_of_256():
    ours = face() + np.array((3, 4)) / 256
    figure = score(LandmarkScore(AverageKeypointDistance()), video(3, landmarks=ours), video(3))
    assert figure == pytest.approx(3.5, abs=1e-4)


def test_landmarks_of_a_wide_picture_are_measured_alike_in_both_directions():
    across, down = face() + np.array((0.05, 0.0)), face() + np.array((0.0, 0.1))
    real = video(3, 8, 16)
    for metric in (LandmarkScore(LandmarkDistance()), LandmarkScore(AverageKeypointDistance())):
        figures = []
        for moved in (across, down):
            metric.reset()
            figures.append(score(metric, video(3, 8, 16, landmarks=moved), real))
        assert figures[0] == pytest.approx(figures[1], rel=1e-5)
    assert figures[0] == pytest.approx(0.1 * 256 / 2, rel=1e-5)


def moving(offsets):
    """The face, moved in x by (f,) shares of the picture; it is half a picture in size."""
    return np.stack([face() + np.array((offset, 0.0)) for offset in offsets])


def test_steady_and_steadily_accelerated_motion_have_no_jitter():
    frames = np.arange(8)
    assert score(LandmarkJitter(), video(8, landmarks=moving(0.01 * frames))) == pytest.approx(0, abs=1e-3)
    assert score(LandmarkJitter(), video(8, landmarks=moving(0.002 * frames**2))) == pytest.approx(
        0, abs=1e-3
    )


def test_jitter_of_a_trembling_face_is_four_times_its_way_and_counts_only_where_four_frames_show_it():
    tremble = 0.01 * (np.arange(8) % 2)  # 2 % of the face's size, and back
    assert score(LandmarkJitter(), video(8, landmarks=moving(tremble))) == pytest.approx(4 * 2.0, rel=1e-4)
    offsets = np.zeros(9)
    offsets[:4], offsets[4] = 0.01 * np.array((0, 1, 0, 1)), 0.7
    seen = np.arange(9) != 4
    figure = score(LandmarkJitter(), video(9, landmarks=moving(offsets), valid=seen))
    assert figure == pytest.approx(4 * 2.0 / 2, rel=1e-4), "one trembling and one still row of four"


def test_eyes_that_look_about_are_no_jitter():
    looking = moving(np.zeros(8))
    looking[::2, 468:] += 0.02
    assert score(LandmarkJitter(), video(8, landmarks=looking)) == 0.0


def test_jitter_of_a_sine_is_that_of_its_third_difference():
    frames, step = 400, 2 * np.pi / 40
    swaying = video(frames, landmarks=moving(0.1 * np.sin(step * np.arange(frames))))
    third = 20 * (2 * np.sin(step / 2)) ** 3  # amplitude in % of the face's size
    assert score(LandmarkJitter(), swaying) == pytest.approx(third * 2 / np.pi, rel=0.01)


def eyes(closure):
    blendshapes = np.zeros((len(closure), 52), np.float32)
    for name in ("eyeBlinkLeft", "eyeBlinkRight"):
        blendshapes[:, BLENDSHAPES.index(name)] = closure
    return blendshapes


BLINK = [0.1, 0.45, 0.7, 0.6, 0.35, 0.2]
HALF_SHUT = [0.1, 0.3, 0.38, 0.3, 0.1]
TREMBLING = [0.1, 0.41, 0.39, 0.42, 0.38, 0.41, 0.26, 0.5, 0.2]


@pytest.mark.parametrize(
    ("closure", "blinks"),
    [
        ([0.1] * 6, 0),
        (BLINK * 3, 3),
        (HALF_SHUT * 3, 0),
        (TREMBLING, 1),
        (BLINK[2:] + BLINK, 1),  # begins with shut eyes
        (BLINK + BLINK[:3], 2),  # ends with shut eyes
        ([], 0),
    ],
)
def test_blinks_are_counted(closure, blinks):
    assert BlinkThresholds().blinks(np.array(closure)) == blinks


def test_blinks_per_minute_are_of_the_time_that_shows_a_face():
    closure = BLINK * 3 + [0.1] * 82  # 100 frames, 4 s
    assert score(BlinkRate(), video(100, blendshapes=eyes(closure))) == pytest.approx(3 * 15)
    seen = np.arange(100) < 50
    seen[:6] = False  # without the first blink
    figure = score(BlinkRate(), video(100, blendshapes=eyes(closure), valid=seen))
    assert figure == pytest.approx(2 / (44 / FPS / 60))


def test_one_shut_eye_is_no_blink():
    blendshapes = eyes(BLINK * 2)
    blendshapes[:, BLENDSHAPES.index("eyeBlinkLeft")] = 0.05
    assert score(BlinkRate(), video(12, blendshapes=blendshapes)) == 0.0


def test_blink_rate_error_is_the_difference_either_way():
    often, seldom = (video(100, blendshapes=eyes(BLINK * n + [0.1] * (100 - 6 * n))) for n in (3, 1))
    for pair in ((often, seldom), (seldom, often)):
        assert score(BlinkRateError(), *pair) == pytest.approx(2 * 15)
    assert score(BlinkRateError(), often, often) == 0.0


def test_thresholds_in_the_wrong_order_are_refused():
    with pytest.raises(ValueError, match=r"opened \(0.5\) must be above 0 and below shut \(0.4\)"):
        BlinkRate(shut=0.4, opened=0.5)


def test_scores_of_parts_are_those_of_the_whole():
    metric, tensors = LandmarkJitter(), []
    for seed in range(3):
        shaky = moving(0.01 * np.random.default_rng(seed).normal(size=9))
        tensors.append(metric.measure(VideoPair(str(seed), video(9, landmarks=shaky))))
    assert all(
        tensor.device.type == "cpu" and tensor.numel() == 1 for each in tensors for tensor in each.values()
    )
    for measured in tensors:
        metric.update(measured)
    assert metric.compute() == torch.stack([measured["figure"] for measured in tensors]).mean()
