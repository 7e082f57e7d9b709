"""Scores of generated frames on pictures whose score is known."""

import pytest
import torch

from aniportrait.evaluation.face_l1 import FaceRegionL1, inside
from aniportrait.evaluation.suite import PortraitSuite

WHOLE = torch.tensor([0.0, 0.0, 1.0, 1.0])
RIGHT_HALF = torch.tensor([0.5, 0.0, 1.0, 1.0])


def video(clips=2, frames=3, size=16, seed=0):
    return torch.rand(clips, frames, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 1.6 - 0.8


def boxes(box, clips=2, frames=3):
    return box.expand(clips, frames, 4)


def test_a_box_covers_the_pixels_whose_centres_it_holds():
    mask = inside(torch.tensor([0.25, 0.5, 0.75, 0.74]), 4, 4)
    assert mask.int().tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]


def test_face_l1_of_a_constant_error_is_half_of_it_because_frames_span_two():
    metric = FaceRegionL1()
    metric.update(video() + 0.1, video(), boxes(WHOLE))
    assert metric.compute().item() == pytest.approx(0.05)


def test_face_l1_does_not_see_what_is_outside_the_box():
    wrong = video()
    wrong[..., :8] = 1.0
    metric = FaceRegionL1()
    metric.update(wrong, video(), boxes(RIGHT_HALF))
    assert metric.compute().item() == 0.0


def test_face_l1_weighs_frames_alike_however_large_the_face_is():
    truth = torch.zeros(1, 2, 3, 16, 16)
    ours = torch.stack((truth[:, 0] + 0.2, truth[:, 1] + 0.6), dim=1)
    metric = FaceRegionL1()
    metric.update(ours, truth, torch.stack((WHOLE, RIGHT_HALF))[None])
    assert metric.compute().item() == pytest.approx(0.2)


def test_face_l1_keeps_one_value_per_clip_and_leaves_out_clips_without_a_face():
    truth = torch.zeros(3, 2, 3, 16, 16)
    error = torch.tensor([0.2, 0.4, 0.9])[:, None, None, None, None]
    empty = torch.full((4,), -1.0)
    box = torch.stack([boxes(WHOLE, 1, 2)[0], boxes(WHOLE, 1, 2)[0], boxes(empty, 1, 2)[0]])
    metric = FaceRegionL1()
    metric.update(truth + error, truth, box)
    torch.testing.assert_close(metric.per_clip, torch.tensor([0.1, 0.2, torch.nan]), equal_nan=True)
    assert metric.compute().item() == pytest.approx(0.15)


def test_face_l1_compares_what_can_be_shown():
    metric = FaceRegionL1()
    metric.update(torch.full((1, 1, 3, 8, 8), 1.7), torch.ones(1, 1, 3, 8, 8), boxes(WHOLE, 1, 1))
    assert metric.compute().item() == 0.0


def test_pictures_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="must have the target's shape"):
        FaceRegionL1().update(video(size=8), video(), boxes(WHOLE))


def test_the_suite_gives_every_clip_its_own_scores_whatever_the_batches():
    truth = video(clips=3, frames=4, size=24)
    ours = (truth + 0.2 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(1))).clamp(-1, 1)
    together, apart = PortraitSuite(), PortraitSuite()
    together.update(ours, truth, boxes(WHOLE, 3, 4))
    for clip in range(3):
        apart.update(ours[clip : clip + 1], truth[clip : clip + 1], boxes(WHOLE, 1, 4))
    for name, values in together.per_clip().items():
        assert values.shape == (3,)
        torch.testing.assert_close(values, apart.per_clip()[name])


def test_the_suites_psnr_is_that_of_pictures_between_0_and_1():
    suite = PortraitSuite()
    suite.update(video(size=24) + 0.2, video(size=24), boxes(WHOLE))
    scores = suite.per_clip()
    assert scores["psnr"].tolist() == pytest.approx([20.0, 20.0], abs=1e-3)
    assert scores["face_l1"].tolist() == pytest.approx([0.1, 0.1])


def test_the_suite_finds_the_truth_perfect():
    suite = PortraitSuite()
    suite.update(video(size=24), video(size=24), boxes(WHOLE))
    scores = suite.per_clip()
    assert scores["ssim"].tolist() == pytest.approx([1.0, 1.0])
    assert scores["psnr"].isinf().all()
    assert scores["face_l1"].tolist() == [0.0, 0.0]
