"""Frechet distances of distributions whose distance is known in closed form."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from torchmetrics import Metric

from aniportrait.evaluation.blendshape_frechet_distance import BlendshapeFrechetDistance
from aniportrait.evaluation.frechet_distance import Normal, VideoFrechetDistance, squared_frechet_distance
from aniportrait.evaluation.video_metric import NotScoredError
from aniportrait.evaluation.video_pair import ScoredVideo, VideoPair
from aniportrait.face.track import FaceTrack

# Three uncorrelated columns without a mean; the covariance, divided by n - 1, is 8/7 of the unit matrix exactly.
WHITE = torch.tensor(scipy.linalg.hadamard(8)[:, 1:4], dtype=torch.float32)


class Points(VideoFrechetDistance):
    """Features are the first row of each frame's first channel."""

    width = 3

    def features(self, video):
        return video.frames[:, 0, 0].float()


def distance_of(generated, real, chunks=1, metric=None):
    metric = metric or Points()
    for ours, theirs in zip(generated.chunk(chunks), real.chunk(chunks), strict=True):
        metric.update({"generated": ours, "real": theirs})
    return metric


def test_a_shifted_and_widened_cloud_is_as_far_as_its_mean_and_its_deviations_are():
    generated = WHITE * torch.tensor([3.0, 1.0, 0.5]) + torch.tensor([1.0, -2.0, 2.0])
    expected = 9.0 + 8 / 7 * (2.0**2 + 0.0 + 0.5**2)
    assert distance_of(generated, WHITE).compute().item() == pytest.approx(expected, rel=1e-12)


def test_covariances_that_do_not_commute_are_as_far_as_the_closed_form_of_2_x_2_says():
    # tr (A B)^1/2 = sqrt(tr(A B) + 2 sqrt(det A det B)) of 2 x 2 matrices.
    a = torch.tensor([[5.0, 2.0], [2.0, 3.0]], dtype=torch.float64)
    b = torch.tensor([[1.0, -1.0], [-1.0, 4.0]], dtype=torch.float64)
    crossed = math.sqrt(torch.trace(a @ b).item() + 2 * math.sqrt((a.det() * b.det()).item()))
    expected = 8.0 + 5.0 - 2 * crossed
    still = torch.zeros(2, dtype=torch.float64)
    assert squared_frechet_distance(Normal(still, a), Normal(still, b)).item() == pytest.approx(
        expected, rel=1e-12
    )


def test_it_is_what_the_root_of_the_matrix_gives_and_the_same_from_either_side():
    generator = np.random.default_rng(0)
    a, b = (generator.normal(size=(200, 12)) @ generator.normal(size=(12, 12)) + i for i in range(2))
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(first @ second)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first + second - 2 * np.real(root))
    ours, theirs = (Normal.fitted(torch.from_numpy(samples)) for samples in (a, b))
    assert squared_frechet_distance(ours, theirs).item() == pytest.approx(expected, rel=1e-9)
    assert squared_frechet_distance(theirs, ours).item() == pytest.approx(expected, rel=1e-9)


def test_the_same_features_are_at_no_distance_even_where_they_are_fewer_than_their_width():
    samples = torch.randn(5, 40, generator=torch.Generator().manual_seed(0)) + 3.0
    metric = distance_of(samples, samples, metric=Wide())
    assert metric.compute().item() == pytest.approx(0.0, abs=1e-10)
    assert "5 features of 40 numbers" in metric.note


def test_features_that_never_change_have_a_distance_and_features_that_are_not_numbers_have_none():
    still = torch.full((4, 3), 0.1)
    assert distance_of(still, still + 2.0).compute().item() == pytest.approx(12.0, rel=1e-6)
    assert distance_of(still * torch.nan, WHITE[:4]).compute().isnan()


class Wide(Points):
    width = 40


def test_few_features_are_as_far_as_their_gram_matrix_says():
    # Of n samples tr (A B)^1/2 is the sum of the singular values of the n x n products of centred samples.
    a, b = (torch.randn(5, 40, generator=torch.Generator().manual_seed(seed)) + 100 for seed in (1, 2))
    x, y = ((side.double() - side.double().mean(0)).numpy() for side in (a, b))
    crossed = np.linalg.svd(x @ y.T, compute_uv=False).sum() / 4
    mean = (a.double().mean(0) - b.double().mean(0)).square().sum().item()
    expected = mean + ((x**2).sum() + (y**2).sum()) / 4 - 2 * crossed
    assert distance_of(a, b, metric=Wide()).compute().item() == pytest.approx(expected, rel=1e-10)


def test_it_does_not_matter_in_which_clips_or_order_the_features_come():
    generated = WHITE * torch.tensor([3.0, 1.0, 0.5]) + 1.0
    once = distance_of(generated, WHITE)
    for other in (
        distance_of(generated, WHITE, chunks=4),
        distance_of(generated.flip(0), WHITE.roll(3, 0), chunks=2),
    ):
        assert other.compute().item() == pytest.approx(once.compute().item(), rel=1e-13)


def test_two_processes_together_know_what_one_does():
    generated = WHITE * 2 + 1.0
    halves = [distance_of(ours, true) for ours, true in zip(generated.chunk(2), WHITE.chunk(2), strict=True)]
    halves[0].merge_state(halves[1])
    assert halves[0].compute().item() == pytest.approx(3.0 + 3 * 8 / 7, rel=1e-12)
    assert halves[0].clips == 2


def test_it_says_how_many_clips_and_features_it_is_of_and_forgets_them_when_reset():
    metric = distance_of(WHITE, WHITE + 1.0, chunks=2)
    metric.update({"generated": WHITE[:1], "real": WHITE[:2]})
    assert (metric.clips, metric.samples, metric.frames, metric.note) == (3, (9, 10), 9, "")
    metric.reset()
    assert (metric.clips, metric.samples) == (0, (0, 0))
    assert distance_of(WHITE + 2.0, WHITE, metric=metric).compute().item() == pytest.approx(12.0, rel=1e-12)


def test_memory_does_not_grow_with_the_clips():
    metric = distance_of(WHITE, WHITE)
    before = held(metric)
    for _ in range(20):
        metric.update({"generated": WHITE, "real": WHITE})
    assert held(metric) == before


def held(metric: Metric) -> int:
    return sum(state.numel() for state in metric.metric_state.values())


@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")
def test_one_feature_has_no_covariance_and_so_no_figure():
    assert Points().compute().isnan()
    metric = distance_of(WHITE[:1], WHITE)
    assert metric.compute().isnan()
    assert "no figure" in metric.note


def video(blendshapes, valid):
    frames = len(valid)
    zeros = np.zeros((frames, 1, 3), np.float32)
    track = FaceTrack(zeros, zeros, zeros, blendshapes.astype(np.float32), np.array(valid))
    return ScoredVideo(torch.zeros(frames, 3, 1, 1, dtype=torch.uint8), track, None, 25.0)


def test_expressions_are_compared_over_the_frames_that_have_a_face():
    blendshapes = np.zeros((9, 52))
    blendshapes[:8, :3] = 0.5 + 0.25 * WHITE.numpy()
    blendshapes[8] = 1e6  # no face: nothing of it may count
    stronger = blendshapes.copy()
    stronger[:8, 0] = 0.5 + 0.5 * WHITE[:, 0].numpy()
    valid = [True] * 8 + [False]
    metric = BlendshapeFrechetDistance()
    metric.update(metric.measure(VideoPair("a", video(stronger, valid), video(blendshapes, valid))))
    assert metric.compute().item() == pytest.approx(8 / 7 * 0.25**2, rel=1e-9)
    assert metric.samples == (8, 8)
    assert metric.needs == {"real"}


def test_a_clip_without_any_face_or_without_a_true_video_is_not_scored():
    blendshapes = np.zeros((2, 52))
    seen, unseen = video(blendshapes, [True, False]), video(blendshapes, [False, False])
    for pair, reason in (
        (VideoPair("a", unseen, seen), "no frame has a face"),
        (VideoPair("a", seen), "real video"),
    ):
        with pytest.raises(NotScoredError, match=reason):
            BlendshapeFrechetDistance().measure(pair)


def test_features_of_another_width_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 1\) must be rows of 3 numbers"):
        Points().measure(VideoPair("a", *[video(np.zeros((2, 52)), [True] * 2)] * 2))
