"""Metrics of speech and head motion against answers known beforehand."""

import numpy as np
import pytest
import torch

from aniportrait.evaluation.beat_alignment import BeatAlignment, onset_strength, peaks
from aniportrait.evaluation.best_mouth_opening_correlation import BestMouthOpeningCorrelation
from aniportrait.evaluation.head_motion_jitter import HeadMotionJitter
from aniportrait.evaluation.head_pose_frechet_distance import HeadPoseFrechetDistance, frechet_distance
from aniportrait.evaluation.mouth_opening_correlation import MouthOpeningCorrelation
from aniportrait.evaluation.paired_blocks import paired_correlation_difference
from aniportrait.face.topology import INNER_LIP_PAIRS


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def talking(opening):
    """A face whose inner lips are `opening` (b, f) cm apart."""
    mesh = torch.zeros(*opening.shape, 468, 3)
    mesh[:, :, INNER_LIP_PAIRS[:, 1].tolist(), 1] = -opening[..., None]
    return mesh


def everywhere(values):
    return torch.ones(values.shape[:2], dtype=torch.bool)


@pytest.mark.parametrize("lag", [-3, 0, 2])
def test_a_mouth_that_is_late_follows_perfectly_at_its_own_lag(lag):
    opening = noise(1, 60).abs() + 0.1
    true, ours = opening[:, 5:55], opening[:, 5 + lag : 55 + lag]
    metric = BestMouthOpeningCorrelation(fps=25.0)
    metric.update(talking(ours), talking(true), everywhere(true))
    assert metric.compute().item() == pytest.approx(1.0, abs=1e-4)


def test_a_delay_beyond_the_reach_is_not_forgiven():
    opening = noise(1, 80).abs() + 0.1
    metric = BestMouthOpeningCorrelation(fps=25.0, reach_ms=120.0)
    metric.update(talking(opening[:, :60]), talking(opening[:, 4:64]), everywhere(opening[:, :60]))
    assert metric.compute().item() < 0.5


def test_the_best_lag_is_never_worse_than_none_and_skips_frames_without_a_face():
    ours, true = noise(3, 40).abs(), noise(3, 40, seed=1).abs()
    valid = everywhere(true)
    valid[:, 20:25] = False
    best, plain = BestMouthOpeningCorrelation(), MouthOpeningCorrelation()
    for metric in (best, plain):
        metric.update(talking(ours), talking(true), valid)
    assert (best.per_clip >= plain.per_clip - 1e-6).all()
    spoiled = talking(ours)
    spoiled[:, 20:25] = torch.inf
    again = BestMouthOpeningCorrelation()
    again.update(spoiled, talking(true), valid)
    assert torch.allclose(again.per_clip, best.per_clip, atol=1e-5)


def test_jitter_is_a_ratio_that_a_steady_turn_does_not_change():
    true = noise(2, 40, 6)
    metric = HeadMotionJitter()
    turn = torch.arange(40.0)[None, :, None] * 3
    metric.update(0.5 * true + turn, true, everywhere(true))
    assert torch.allclose(metric.per_clip, torch.full((2,), 0.5), atol=1e-4)


def test_frechet_distance_of_shifted_and_widened_distributions():
    samples = noise(4000, 3).double()
    samples = (samples - samples.mean(0)) / samples.std(0)
    assert frechet_distance(samples, samples).item() == pytest.approx(0.0, abs=1e-5)
    assert frechet_distance(samples + torch.tensor([3.0, 4.0, 0.0]), samples).item() == pytest.approx(5.0)
    diagonal = torch.linalg.qr(samples)[0] * 4000**0.5  # uncorrelated: the distance of the deviations remains
    deviation = diagonal.std(dim=0)
    expected = deviation.square().sum().sqrt().item()
    assert frechet_distance(2 * diagonal, diagonal).item() == pytest.approx(expected, rel=1e-2)


def test_head_poses_of_another_unit_have_the_same_distance():
    """Each number counts in its own standard deviations, so degrees and centimetres weigh alike."""
    true, ours = noise(2, 50, 6), 1.5 * noise(2, 50, 6, seed=1)
    scale = torch.tensor([1.0, 5.0, 1.0, 0.01, 1.0, 1.0])
    distances = []
    for factor in (torch.ones(6), scale):
        metric = HeadPoseFrechetDistance()
        metric.update(ours * factor, true * factor, everywhere(true))
        distances.append(metric.compute().item())
    assert distances[0] == pytest.approx(distances[1], rel=1e-3)
    metric = HeadPoseFrechetDistance()
    metric.update(true, true, everywhere(true))
    assert metric.compute().item() == pytest.approx(0.0, abs=1e-4)


def test_a_head_that_rests_on_every_onset_is_aligned_and_one_between_them_is_not():
    onsets = torch.zeros(1, 60)
    onsets[:, 5::10] = 1.0
    frame = torch.arange(60.0)

    def nodding(rest):
        speed = 1.2 - torch.cos((frame - rest) * 2 * torch.pi / 10)  # slowest at rest, rest + 10, ...
        return torch.nn.functional.pad(speed.cumsum(0)[None, :, None], (0, 5))

    scores = []
    for rest in (5, 10):
        metric = BeatAlignment()
        metric.update(nodding(rest), onsets, everywhere(onsets))
        scores.append(metric.compute().item())
    assert scores[0] == pytest.approx(1.0, abs=1e-3)
    assert scores[1] < 0.01


def test_onsets_are_where_the_sound_begins():
    audio = torch.zeros(1, 16_000)
    audio[:, 8000:] = 0.3 * torch.sin(torch.arange(8000) * 0.2)
    assert abs(int(onset_strength(audio, 25)[0].argmax()) - 12) <= 1
    assert not peaks(torch.arange(5.0)).any()


def test_the_paired_difference_knows_who_follows_better_and_how_surely():
    rng = np.random.default_rng(0)
    truth = [rng.standard_normal(250) for _ in range(4)]
    good = [t + 0.3 * rng.standard_normal(250) for t in truth]
    bad = [t + 3.0 * rng.standard_normal(250) for t in truth]
    difference = paired_correlation_difference(list(zip(good, bad, truth, strict=True)), block=25)
    by_hand = [
        np.corrcoef(g, t)[0, 1] - np.corrcoef(b, t)[0, 1] for g, b, t in zip(good, bad, truth, strict=True)
    ]
    assert difference.value == pytest.approx(np.mean(by_hand))
    assert difference.interval[0] < difference.value < difference.interval[1]
    assert (difference.above_zero, difference.blocks) == (1.0, 40)
    same = paired_correlation_difference(list(zip(good, good, truth, strict=True)), block=25)
    assert (same.value, same.interval) == (0.0, (0.0, 0.0))
