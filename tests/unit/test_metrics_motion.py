"""Scores of moving pictures and detected faces whose score is known."""

import numpy as np
import pytest
import torch

from aniportrait.evaluation.change_ratio import ChangeRatio
from aniportrait.evaluation.detected_suite import DetectedSuite, missing_faces
from aniportrait.evaluation.face_regions import face_boxes, mouth_boxes, regions
from aniportrait.evaluation.flicker import Flicker
from aniportrait.evaluation.landmark_distance import LandmarkDistance
from aniportrait.evaluation.motion_ratio import MotionRatio
from aniportrait.evaluation.motion_suite import MotionSuite
from aniportrait.face.topology import LIPS, POINTS
from aniportrait.face.track import FaceTrack

TREMBLE = 0.3 * torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])[None, :, None, None, None]


def everywhere(video):
    return torch.ones(video.shape[0], video.shape[1], *video.shape[-2:], dtype=torch.bool)


def brightening(frames=6, size=8):
    """Steps of 0.2 in [-1, 1], 0.1 in [0, 1]."""
    return torch.linspace(-0.5, 0.5, frames)[None, :, None, None, None].expand(1, frames, 3, size, size)


def score(metric, video, truth, region=None):
    metric.update(video, truth, everywhere(truth) if region is None else region)
    return metric.compute().item()


def test_flicker_is_what_changes_and_should_not():
    truth = brightening()
    assert score(Flicker(), truth + 0.1, truth) == pytest.approx(0.0, abs=1e-6)
    assert score(Flicker(), truth + TREMBLE, truth) == pytest.approx(
        0.3
    )  # a change of 0.6 of 2 at every step


def test_flicker_of_a_frozen_picture_is_the_true_change_and_that_of_the_truth_0():
    truth = brightening()
    assert score(Flicker(), truth[:, :1].expand_as(truth), truth) == pytest.approx(0.1)
    assert score(Flicker(), truth, truth) == 0.0


def test_flicker_sees_its_region_alone_and_pixels_that_are_in_it_in_both_frames():
    truth = torch.zeros(1, 2, 3, 4, 4)
    ours = truth.clone()
    ours[:, 1, :, :, :2] = 1.0
    left, right = everywhere(truth), everywhere(truth)
    left[..., 2:], right[..., :2] = False, False
    assert score(Flicker(), ours, truth, left) == pytest.approx(0.5)
    assert score(Flicker(), ours, truth, right) == 0.0
    moving = torch.stack((left[:, 0], right[:, 1]), dim=1)
    assert np.isnan(score(Flicker(), ours, truth, moving)), "no pixel is in the region in both frames"


def test_change_is_1_for_a_constant_error_and_more_for_a_trembling_one():
    truth = brightening()
    assert score(ChangeRatio(), truth + 0.1, truth) == pytest.approx(1.0)
    # Steps of 0.2 become 0.6 - 0.2 and 0.6 + 0.2 in turn: three of the first kind, two of the second.
    assert score(ChangeRatio(), truth + TREMBLE, truth) == pytest.approx((3 * 0.4 + 2 * 0.8) / 5 / 0.2)


def test_change_of_a_frozen_picture_is_0_and_of_half_the_motion_a_half():
    truth = brightening()
    assert score(ChangeRatio(), truth[:, :1].expand_as(truth), truth) == 0.0
    assert score(ChangeRatio(), truth / 2, truth) == pytest.approx(0.5)


def test_change_and_motion_have_no_answer_where_the_truth_stands_still():
    still = brightening()[:, :1].expand(1, 6, 3, 8, 8)
    for metric in (ChangeRatio(), MotionRatio()):
        assert np.isnan(score(metric, brightening(), still))
    assert np.isnan(score(ChangeRatio(), still[:, :1], still[:, :1]))


def test_motion_is_the_ratio_of_standard_deviations_over_time():
    truth = brightening()
    assert score(MotionRatio(), truth * 0.7 + 0.2, truth) == pytest.approx(0.7, abs=1e-5)
    assert score(MotionRatio(), truth[:, :1].expand_as(truth), truth) == 0.0


def face(x0=0.25, y0=0.25, x1=0.75, y1=0.75):
    """(478, 3): all points at the centre but two corners of the box, and lips 0.2 wide and 0.1 high below it."""
    points = torch.full((POINTS, 3), 0.5)
    points[9, :2], points[8, :2] = torch.tensor((x0, y0)), torch.tensor((x1, y1))
    points[LIPS.tolist(), :2] = torch.tensor((0.5, 0.65))
    points[int(LIPS[0]), :2], points[int(LIPS[1]), :2] = torch.tensor((0.4, 0.6)), torch.tensor((0.6, 0.7))
    return points


def test_the_mouth_is_the_lips_and_a_quarter_of_their_width_around_them():
    assert face_boxes(face()).tolist() == pytest.approx([0.25, 0.25, 0.75, 0.75])
    assert mouth_boxes(face()).tolist() == pytest.approx([0.35, 0.55, 0.65, 0.75])


def test_the_background_is_what_the_face_leaves():
    masks = regions(face()[None, None], 4, 4)
    assert masks["background"].sum() == 12
    assert not masks["background"][0, 0, 1:3, 1:3].any()
    assert masks["whole"].all()


def test_the_motion_suite_finds_a_trembling_background_behind_a_right_face():
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(1, 6, 3, 16, 16, generator=generator) - 0.5
    landmarks = face().expand(1, 6, POINTS, 3)
    ours = torch.where(regions(landmarks, 16, 16)["background"][:, :, None], truth + TREMBLE, truth)
    suite = MotionSuite()
    suite.update(ours, truth, landmarks)
    scores = {name: value.item() for name, value in suite.per_clip().items()}
    assert scores["flicker_mouth"] == 0.0
    assert scores["flicker_background"] == pytest.approx(0.3)
    assert scores["flicker_whole"] == pytest.approx(0.3 * 0.75)
    assert scores["change_mouth"] == scores["motion_mouth"] == 1.0
    assert scores["change_background"] > 1.1


def test_landmark_distance_is_in_percent_of_the_drivings_box_and_ignores_depth_and_frames_without_a_face():
    driving = face(x0=0.1, y0=0.3, x1=0.5, y1=0.7).expand(
        1, 3, POINTS, 3
    )  # the lips reach x = 0.6: 0.5 x 0.4
    ours = driving + torch.tensor((0.03, 0.04, 9.0))
    ours[:, 2] = 0.0
    metric = LandmarkDistance()
    metric.update(ours, driving, torch.tensor([[True, True, False]]))
    assert metric.compute().item() == pytest.approx(100 * 0.05 / (0.5 * 0.4) ** 0.5, rel=1e-4)


def track(landmarks, valid):
    frames = len(valid)
    vertices = np.random.default_rng(frames).normal(size=(frames, 468, 3)).astype(np.float32)
    eye = np.tile(np.eye(4, dtype=np.float32), (frames, 1, 1))
    return FaceTrack(landmarks, vertices, eye, np.zeros((frames, 52), np.float32), np.array(valid))


def test_frames_without_a_face_are_counted_and_in_no_figure():
    driving = face().expand(4, POINTS, 3)
    found = driving.numpy().copy()
    found[1] = 0.0
    suite = DetectedSuite()
    suite.update(track(found, [True, False, True, True]), driving, track(driving.numpy(), [True] * 4))
    suite.update(track(found[1:2], [False]), driving[:1], track(driving.numpy()[:1], [True]))
    assert missing_faces([suite, suite]) == "4 of 10"
    scores = suite.per_clip()
    assert scores["landmark_distance"][0] == 0.0
    assert scores["mouth_opening_spread"][0] == pytest.approx(1.0)
    assert all(values[1].isnan() for values in scores.values()), "a clip without any face has no score"
