"""Mesh metrics in millimetres, against answers worked out by hand and torchmetrics' own lip vertex error."""

import math

import pytest
import torch
from torchmetrics.functional.multimodal import lip_vertex_error

from aniportrait.data.schema import SpeechBatch
from aniportrait.evaluation.head_motion_speed import HeadMotionSpeed
from aniportrait.evaluation.head_motion_spread import HeadMotionSpread
from aniportrait.evaluation.lip_vertex_error import LipVertexError
from aniportrait.evaluation.mesh_baselines import (
    lip_error,
    neutral_mesh,
    ridge_mesh,
    sound_features,
    train_mean_mesh,
    with_other_sound,
)
from aniportrait.evaluation.mouth_opening_correlation import MouthOpeningCorrelation, mouth_opening
from aniportrait.evaluation.mouth_opening_spread import MouthOpeningSpread
from aniportrait.evaluation.squared_lip_vertex_error import SquaredLipVertexError
from aniportrait.evaluation.velocity_error import VelocityError
from aniportrait.evaluation.vertex_error import VertexError
from aniportrait.face.topology import INNER_LIP_PAIRS, LIPS, UPPER_FACE

ALL_METRICS = (
    LipVertexError,
    SquaredLipVertexError,
    VertexError,
    VelocityError,
    MouthOpeningCorrelation,
    MouthOpeningSpread,
)


def meshes(batch=2, frames=5, seed=0):
    return torch.randn(batch, frames, 468, 3, generator=torch.Generator().manual_seed(seed))


def everywhere(mesh):
    return torch.ones(mesh.shape[:2], dtype=torch.bool)


def score(metric, prediction, target, valid=None):
    metric.update(prediction, target, everywhere(target) if valid is None else valid)
    return metric.compute().item()


def test_lip_vertex_error_is_the_worst_lip_vertex_in_millimetres():
    target = meshes()
    prediction = target.clone()
    prediction[:, :, int(LIPS[3])] += torch.tensor([0.3, 0.0, 0.4])
    prediction[:, :, int(UPPER_FACE[0])] += 9.0
    assert score(LipVertexError(), prediction, target) == pytest.approx(5.0, rel=1e-4)
    assert score(SquaredLipVertexError(), prediction, target) == pytest.approx(25.0, rel=1e-4)


def test_the_squared_form_is_torchmetrics_lip_vertex_error():
    prediction, target = meshes(batch=1, seed=1), meshes(batch=1)
    expected = lip_vertex_error(10 * prediction[0], 10 * target[0], LIPS.tolist()).item()
    assert score(SquaredLipVertexError(), prediction, target) == pytest.approx(expected, rel=1e-4)


def test_regions_see_their_own_vertices_only():
    target = meshes()
    prediction = target.clone()
    prediction[:, :, UPPER_FACE.tolist(), 0] += 0.1
    assert score(VertexError("upper_face"), prediction, target) == pytest.approx(1.0, rel=1e-3)
    assert score(VertexError("lips"), prediction, target) == 0.0
    assert score(VertexError("all"), prediction, target) == pytest.approx(len(UPPER_FACE) / 468, rel=1e-3)
    with pytest.raises(ValueError, match=r"region \(nose\) must be one of all, lips, upper_face"):
        VertexError("nose")


def test_velocity_error_ignores_offsets_and_sees_movement():
    target = torch.zeros(1, 4, 468, 3)
    moving = 0.2 * torch.arange(4.0).view(1, 4, 1, 1) * torch.tensor([1.0, 0.0, 0.0]) + target
    assert score(VelocityError("all"), target + 5, target) == 0.0
    assert score(VelocityError("all"), moving, target) == pytest.approx(2.0)


@pytest.mark.parametrize("metric", ALL_METRICS)
def test_frames_without_a_face_do_not_count(metric):
    prediction, target = meshes(seed=1), meshes()
    valid = everywhere(target)
    valid[:, 3:] = False
    expected = score(metric(), prediction[:, :3], target[:, :3])
    prediction[:, 3:] = float("inf")
    assert score(metric(), prediction, target, valid) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("metric", ALL_METRICS)
def test_per_clip_values_come_in_the_order_of_the_updates(metric):
    prediction, target = meshes(batch=4, seed=1), meshes(batch=4)
    whole, parts = metric(), metric()
    whole.update(prediction, target, everywhere(target))
    for i in range(4):
        parts.update(prediction[i : i + 1], target[i : i + 1], everywhere(target)[i : i + 1])
    assert whole.per_clip.shape == (4,)
    assert torch.allclose(whole.per_clip, parts.per_clip)
    assert whole.compute().item() == pytest.approx(whole.per_clip.mean().item())


def test_a_clip_without_a_single_face_is_left_out():
    prediction, target = meshes(seed=1), meshes()
    valid = everywhere(target)
    valid[1] = False
    metric = LipVertexError()
    assert score(metric, prediction, target, valid) == metric.per_clip[0].item()
    assert metric.per_clip[1].isnan()


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match="must have the target's shape"):
        LipVertexError().update(meshes(frames=4), meshes(frames=5), everywhere(meshes()))


def talking(opening):
    """A face whose inner lips are `opening` (b, f) cm apart."""
    mesh = torch.zeros(*opening.shape, 468, 3)
    mesh[:, :, INNER_LIP_PAIRS[:, 1].tolist(), 1] = -opening[..., None]
    return mesh


def test_mouth_opening_is_the_distance_of_the_inner_lips():
    opening = torch.tensor([[0.0, 0.5, 1.5]])
    assert torch.allclose(mouth_opening(talking(opening)), opening)


def test_correlation_follows_the_shape_and_spread_follows_the_size_of_the_opening():
    true = torch.rand(1, 50, generator=torch.Generator().manual_seed(0))
    assert score(MouthOpeningCorrelation(), talking(0.5 * true + 1), talking(true)) == pytest.approx(
        1.0, abs=1e-4
    )
    assert score(MouthOpeningCorrelation(), talking(2 - true), talking(true)) == pytest.approx(-1.0, abs=1e-4)
    assert score(MouthOpeningSpread(), talking(0.5 * true + 1), talking(true)) == pytest.approx(0.5, abs=1e-4)


def test_a_mouth_that_stays_shut_follows_nothing_and_has_no_spread():
    true = torch.rand(1, 50, generator=torch.Generator().manual_seed(0))
    shut = torch.zeros(1, 50)
    assert score(MouthOpeningCorrelation(), talking(shut), talking(true)) == 0.0
    assert score(MouthOpeningSpread(), talking(shut), talking(true)) == 0.0
    assert math.isnan(score(MouthOpeningCorrelation(), talking(true), talking(shut)))


def test_head_motion_half_as_large_scores_one_half():
    true = torch.randn(2, 30, 6, generator=torch.Generator().manual_seed(0)).cumsum(dim=1)
    valid = torch.ones(2, 30, dtype=torch.bool)
    assert score(HeadMotionSpread(), 0.5 * true + 3, true, valid) == pytest.approx(0.5, rel=1e-4)
    assert score(HeadMotionSpeed(), 0.5 * true + 3, true, valid) == pytest.approx(0.5, rel=1e-4)


def batch_of(audio, offsets, keys, valid=None):
    neutral = torch.randn(len(audio), 468, 3, generator=torch.Generator().manual_seed(9))
    vertices = neutral[:, None] + offsets
    return SpeechBatch(
        audio=audio,
        vertices=vertices,
        expected_vertices=vertices,
        neutral_vertices=neutral,
        head_pose=torch.zeros(*offsets.shape[:2], 6),
        valid=everywhere(vertices) if valid is None else valid,
        identity=torch.zeros(len(audio), dtype=torch.long),
        keys=keys,
    )


def linear_clips(count, seed, weight):
    """Clips whose offsets are exactly linear in the regression's features."""
    audio = torch.randn(count, 16_000, generator=torch.Generator().manual_seed(seed)).cumsum(dim=1) * 0.01
    offsets = (sound_features(audio, 25) @ weight).unflatten(-1, (468, 3))
    return batch_of(audio, offsets, [f"{seed}_{i}" for i in range(count)])


def test_train_mean_ignores_invalid_frames_and_the_neutral_mesh_is_at_rest():
    offsets = torch.tensor([1.0, 3.0, 100.0]).view(1, 3, 1, 1).expand(1, 3, 468, 3)
    batch = batch_of(torch.zeros(1, 1920), offsets, ["a"], valid=torch.tensor([[True, True, False]]))
    assert torch.allclose(
        train_mean_mesh([batch])(batch.audio, 3), torch.full((1, 3, 468, 3), 2.0), atol=1e-5
    )
    assert torch.equal(neutral_mesh()(batch.audio, 3), torch.zeros(1, 3, 468, 3))


def test_ridge_recovers_a_linear_map_on_unseen_clips_with_the_smallest_penalty():
    weight = 0.02 * torch.randn(360, 468 * 3, generator=torch.Generator().manual_seed(5))
    train, val, test = (linear_clips(n, seed, weight) for n, seed in ((40, 1), (4, 2), (4, 3)))
    ridge = ridge_mesh([train], [val], penalties=(1e-3, 1e6))
    assert ridge.penalty == 1e-3
    assert lip_error(ridge, [test]) < 0.02 * lip_error(train_mean_mesh([train]), [test])
    assert lip_error(ridge, with_other_sound([test])) > lip_error(ridge, [test])


def test_other_sound_is_never_the_same_clips_and_keeps_its_length():
    def windows(keys, length):
        audio = torch.stack([torch.full((length,), float(ord(key))) for key in keys])
        return batch_of(audio, torch.zeros(len(keys), 1, 468, 3), list(keys))

    batches = [windows("aab", 1000), windows("bc", 1500), windows("c", 700)]
    for batch, exchanged in zip(batches, with_other_sound(batches), strict=True):
        assert exchanged.audio.shape == batch.audio.shape
        assert (exchanged.audio != batch.audio).all()
        assert torch.equal(exchanged.vertices, batch.vertices)
    with pytest.raises(ValueError, match="must be at least two"):
        with_other_sound([windows("aa", 1000)])
