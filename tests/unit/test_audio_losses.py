"""Losses count valid frames only and have the values one can work out by hand."""

import math

import pytest
import torch

from aniportrait.face.topology import LIPS
from aniportrait.models.audio2pose import PosePrediction
from aniportrait.training.losses import (
    MeshLoss,
    PoseLikelihood,
    PoseRegression,
    RolloutScore,
    gaussian_nll,
    masked_l1,
    velocity_l1,
)


def test_invalid_frames_cost_nothing():
    prediction = torch.zeros(1, 3, 2, 3)
    target = torch.tensor([1.0, 100.0, 3.0]).view(1, 3, 1, 1).expand(1, 3, 2, 3)
    valid = torch.tensor([[True, False, True]])
    assert masked_l1(prediction, target, valid).item() == 2.0
    assert velocity_l1(prediction, target, valid).item() == 0.0
    assert masked_l1(prediction, target, torch.zeros_like(valid)).item() == 0.0


def test_velocity_ignores_a_constant_offset_and_sees_a_ramp():
    ramp = torch.arange(4.0).view(1, 4, 1)
    valid = torch.ones(1, 4, dtype=torch.bool)
    assert velocity_l1(ramp + 7, ramp, valid).item() == 0.0
    assert velocity_l1(2 * ramp, ramp, valid).item() == 1.0


def test_mesh_loss_counts_the_lips_once_more():
    target = torch.zeros(1, 2, 468, 3)
    target[:, :, LIPS.tolist()] = 1.0
    valid = torch.ones(1, 2, dtype=torch.bool)
    terms = MeshLoss(lip_weight=2.0, velocity_weight=1.0)(torch.zeros_like(target), target, valid)
    assert terms["vertices"].item() == pytest.approx(40 / 468)
    assert terms["lips"].item() == pytest.approx(2.0)
    assert terms["velocity"].item() == 0.0
    assert list(MeshLoss(lip_weight=0, velocity_weight=0)(target, target, valid)) == ["vertices"]


def test_mesh_loss_of_a_single_frame_is_finite():
    target = torch.ones(1, 1, 468, 3)
    terms = MeshLoss()(torch.zeros_like(target), target, torch.ones(1, 1, dtype=torch.bool))
    assert all(term.isfinite() for term in terms.values())


def test_the_likelihood_of_a_normal_distribution_is_least_at_the_true_spread():
    target = torch.randn(1, 20_000, 1, generator=torch.Generator().manual_seed(0)) * 3
    valid = torch.ones(1, 20_000, dtype=torch.bool)
    mean = torch.zeros_like(target)
    nll = [
        gaussian_nll(mean, torch.full_like(mean, math.log(s)), target, valid).item() for s in (2.0, 3.0, 4.5)
    ]
    assert nll[1] == min(nll)
    assert nll[1] == pytest.approx(0.5 * math.log(2 * math.pi * math.e) + math.log(3.0), abs=0.02)


def test_pose_losses_are_sums_of_named_terms():
    pose = torch.arange(12.0).view(1, 2, 6)
    valid = torch.ones(1, 2, dtype=torch.bool)
    assert PoseRegression()(pose + 1, pose, valid) == {"pose": 1.0, "velocity": 0.0}
    prediction = PosePrediction(pose, torch.zeros_like(pose))
    assert PoseLikelihood()(prediction, pose, valid)["likelihood"].item() == pytest.approx(
        0.5 * math.log(2 * math.pi)
    )


def test_the_rollout_score_is_least_for_the_true_distribution():
    """Steps of a true random walk: draws that are too calm, too wild or displaced score worse than true ones."""
    generator = torch.Generator().manual_seed(0)

    def walks(scale=1.0, shift=0.0):
        steps = torch.randn(4000, 3, 6, generator=generator)
        return torch.nn.functional.pad((scale * steps + shift).cumsum(dim=1), (0, 0, 1, 0))

    target, valid = walks(), torch.ones(4000, 4, dtype=torch.bool)
    score = RolloutScore(frames=3)
    true = score(walks(), walks(), target, valid)
    for scale, shift in ((0.3, 0.0), (2.0, 0.0), (1.0, 1.0)):
        assert score(walks(scale, shift), walks(scale, shift), target, valid) > true + 0.01


def test_the_rollout_score_counts_frames_whose_step_is_known():
    draw, target = torch.ones(1, 4, 6), torch.zeros(1, 4, 6)
    valid = torch.tensor([[True, True, False, False]])
    draw[:, 2:] = 100.0
    expected = RolloutScore(frames=1)(draw[:, :2], draw[:, :2], target[:, :2], valid[:, :2])
    assert torch.allclose(RolloutScore(frames=3, weight=2.0)(draw, draw, target, valid), 2 * expected)
