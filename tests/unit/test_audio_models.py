"""audio2mesh starts at no motion; audio2pose decodes what prefix decoding would, bounded, at any length."""

import math

import pytest
import torch
from torch import Tensor, nn

from aniportrait.models.audio2mesh import Audio2Mesh, PublishedHead, TemporalHead
from aniportrait.models.audio2pose import POSE_LIMIT, Audio2Pose
from aniportrait.models.audio_encoder import LogMelEncoder
from aniportrait.models.pose_decoder import alibi_slopes, causal_bias, shifted
from aniportrait.models.published_audio2pose import PublishedAudio2Pose, positions


class RawSamples(nn.Module):
    """An encoder whose features are the samples themselves, `width` for each frame."""

    width = 4

    def forward(self, audio: Tensor, frames: int) -> Tensor:
        return audio[:, : frames * self.width].unflatten(1, (frames, self.width))


def samples(frames, batch=1, seed=0):
    return torch.randn(batch, frames * RawSamples.width, generator=torch.Generator().manual_seed(seed))


def gaussian_weights(module, seed=0, std=0.3):
    """Weights none of which is zero, so that every path counts."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        if "norm" not in name:
            nn.init.normal_(parameter, std=std, generator=generator)
    return module.eval()


@pytest.mark.parametrize("head", [PublishedHead(in_width=4, latent_dim=8), TemporalHead(in_width=4, width=8)])
def test_an_untrained_mesh_model_leaves_the_face_at_rest(head):
    offsets = Audio2Mesh(RawSamples(), head)(samples(7, batch=2), 7)
    assert offsets.shape == (2, 7, 468, 3)
    assert torch.equal(offsets, torch.zeros_like(offsets))


def test_the_published_head_is_one_linear_map():
    head = gaussian_weights(PublishedHead(in_width=4, latent_dim=8))
    a, b = torch.randn(2, 1, 3, 4)
    assert torch.allclose(head(a) + head(b), head(a + b) + head(torch.zeros_like(a)), atol=1e-4)


def test_every_mesh_parameter_gets_a_gradient_once_the_output_has_left_zero():
    model = Audio2Mesh(LogMelEncoder(width=8), TemporalHead(in_width=8, width=8))
    gaussian_weights(model).train()(torch.randn(2, 8000), 12).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_attention_fades_with_distance_as_in_the_original():
    assert alibi_slopes(8).tolist() == [2.0**-i for i in range(1, 9)]
    bias = causal_bias(alibi_slopes(8), torch.arange(3), torch.arange(3))
    assert bias[0].tolist() == [[0, -math.inf, -math.inf], [-0.5, 0, -math.inf], [-1.0, -0.5, 0]]


def test_reach_hides_frames_further_back():
    bias = causal_bias(torch.ones(1), torch.tensor([3]), torch.arange(4), reach=2)
    assert bias[0].tolist() == [[-math.inf, -math.inf, -1, 0]]


def test_sinusoids_alternate_sines_and_cosines():
    assert positions(3, 4)[2].tolist() == pytest.approx(
        [math.sin(2), math.cos(2), math.sin(0.02), math.cos(0.02)], abs=1e-6
    )


def test_the_teacher_is_one_frame_late():
    poses = torch.arange(12.0).view(1, 2, 6)
    assert torch.equal(shifted(poses), torch.stack((torch.zeros(6), poses[0, 0]))[None])


def published():
    return gaussian_weights(
        PublishedAudio2Pose(RawSamples(), latent_dim=16, identities=3, layers=2, heads=4), std=0.2
    )


def probabilistic(**sizes):
    sizes = {"width": 16, "layers": 2, "heads": 4, "identities": 3, "reach": 9} | sizes
    return gaussian_weights(Audio2Pose(RawSamples(), **sizes))


def redecoded(model, audio, frames, identity):
    """Sampling the slow way: the whole prefix again for every frame, as the original does."""
    poses = torch.zeros(len(audio), frames, 6)
    for frame in range(frames):
        prediction = model(audio, poses, identity)
        mean = prediction if isinstance(prediction, Tensor) else prediction.mean
        poses[:, frame] = mean[:, frame]
    return poses


def test_cached_published_decoding_equals_decoding_the_prefix_again():
    model, audio, identity = published(), samples(40, batch=2), torch.tensor([0, 2])
    with torch.no_grad():
        expected = redecoded(model, audio, 40, identity)
    assert torch.allclose(model.sample(audio, 40, identity), expected, atol=1e-5)


def test_cached_sampling_equals_decoding_the_prefix_again_beyond_its_reach():
    model, audio, identity = probabilistic(), samples(40, batch=2), torch.tensor([1, 2])
    with torch.no_grad():
        expected = redecoded(model, audio, 40, identity)
    assert torch.allclose(model.sample(audio, 40, identity, temperature=0.0), expected, atol=1e-5)


@pytest.mark.parametrize("model", [published(), probabilistic()], ids=["published", "probabilistic"])
def test_a_batch_decodes_as_its_clips_do_alone(model):
    audio, identity = samples(12, batch=2), torch.tensor([0, 2])
    kwargs = {} if isinstance(model, PublishedAudio2Pose) else {"temperature": 0.0}
    both = model.sample(audio, 12, identity, **kwargs)
    alone = [model.sample(audio[i : i + 1], 12, identity[i : i + 1], **kwargs) for i in range(2)]
    assert torch.allclose(both, torch.cat(alone), atol=1e-5)


@pytest.mark.parametrize("model", [published(), probabilistic()], ids=["published", "probabilistic"])
def test_head_poses_depend_on_sound_and_style_but_not_on_the_future(model):
    with torch.no_grad():
        poses = torch.randn(1, 12, 6)

        def predicted(audio, identity, head_pose=poses):
            prediction = model(audio, head_pose, torch.tensor([identity]))
            return prediction if isinstance(prediction, Tensor) else torch.cat(prediction, dim=-1)

        reference = predicted(samples(12), 0)
        assert not torch.allclose(reference, predicted(samples(12, seed=1), 0))
        assert not torch.allclose(reference, predicted(samples(12), 1))
        later = poses.clone()
        later[:, 6:] += 1
        assert torch.equal(reference[:, :7], predicted(samples(12), 0, later)[:, :7])


def test_going_on_from_a_motion_is_what_sampling_did_and_has_gradients():
    model, audio = probabilistic(), samples(30, batch=2)
    motion = model.sample(audio, 30, temperature=0.0)
    drawn = model.continued(audio, motion, start=5, frames=20, temperature=0.0)
    assert torch.allclose(drawn, motion[:, 5:25], atol=1e-4)
    drawn.square().sum().backward()
    assert model.output.weight.grad.abs().sum() > 0
    with pytest.raises(ValueError, match=r"start \(25\) and frames \(6\) must lie within the 30 given"):
        model.continued(audio, motion, start=25, frames=6)


@pytest.mark.parametrize("model", [published(), probabilistic()], ids=["published", "probabilistic"])
def test_what_is_sampled_is_an_ordinary_tensor(model):
    motion = model.sample(samples(4), 4)
    assert not motion.is_inference()
    assert not motion.requires_grad


def test_two_seeds_give_two_motions_and_one_seed_gives_one():
    model, audio = probabilistic(), samples(20)

    def motion(seed):
        return model.sample(audio, 20, generator=torch.Generator().manual_seed(seed))

    assert torch.equal(motion(1), motion(1))
    assert not torch.allclose(motion(1), motion(2))


@pytest.mark.parametrize("seed", range(3))
def test_long_roll_outs_of_wild_weights_stay_within_bounds(seed):
    model = gaussian_weights(probabilistic(), seed=seed, std=2.0)
    poses = model.sample(samples(1000), 1000, generator=torch.Generator().manual_seed(seed))
    assert (poses.abs() <= torch.tensor(POSE_LIMIT)).all()


def test_an_untrained_head_leaks_back_to_the_reference_pose():
    model = Audio2Pose(RawSamples(), width=16, layers=1, heads=4, leak=0.1).eval()
    prediction = model(samples(2), torch.full((1, 2, 6), 10.0))
    assert torch.allclose(prediction.mean[0, 1], torch.full((6,), 9.0))


def test_a_tenth_of_a_second_has_head_motion_too():
    model = Audio2Pose(LogMelEncoder(width=8), width=16, layers=1, heads=2).eval()
    assert model.sample(torch.zeros(1, 1600), 2).isfinite().all()


def test_published_decoding_passes_the_originals_limit_of_600_frames():
    assert published().sample(samples(610), 610).shape == (1, 610, 6)


def test_an_encoder_without_a_width_is_refused():
    with pytest.raises(ValueError, match="Identity must have an integer attribute width"):
        Audio2Pose(nn.Identity())


@pytest.mark.parametrize("head", [PublishedHead(in_width=4, latent_dim=8), TemporalHead(in_width=4, width=8)])
def test_vertices_are_not_rounded_where_the_encoder_computes_in_half_precision(head):
    model = Audio2Mesh(RawSamples(), gaussian_weights(head))
    exact = model(samples(7), 7)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model(samples(7), 7), exact)


@pytest.mark.parametrize("model", [probabilistic(), published()])
def test_nor_are_head_poses(model):
    poses = 10 * torch.randn(1, 7, 6, generator=torch.Generator().manual_seed(1))
    exact = model(samples(7), poses)
    with torch.autocast("cpu", torch.bfloat16):
        half = model(samples(7), poses)
    means = [each if isinstance(each, Tensor) else each.mean for each in (exact, half)]
    assert torch.equal(*means)
