"""Sampling with denoisers whose properties make the answer computable."""

import pytest
import torch
from benchmarks.sampling import EveryTime
from torch import nn

from aniportrait.diffusion.context import ClosedLoopWindows, OpenWindows
from aniportrait.diffusion.guidance import GuidedDenoiser, rescaled
from aniportrait.diffusion.noise_schedule import build_scheduler
from aniportrait.diffusion.pose_track import PoseTrack
from aniportrait.diffusion.sampler import initial_noise, sample, timed
from aniportrait.diffusion.solvers import SOLVERS, solver_of
from aniportrait.models.denoising_unet import DenoisingUNet
from aniportrait.models.reference_attention import FirstHalf
from aniportrait.models.reference_net import ReferenceNet

SCHEDULER = build_scheduler()
EMBEDS = torch.full((1, 1, 1), 2.0)


class AsGiven(nn.Module):
    """Makes nothing of the portrait beforehand."""

    def projected(self, image_embeds, reference_features):
        return image_embeds, reference_features


class Oracle(AsGiven):
    """Predicts the velocity towards the values in its first pose feature; counts clips and frames of its calls."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def forward(self, noisy_latents, timesteps, image_embeds, pose_features, reference_features):
        halves = isinstance(reference_features["name"], FirstHalf)
        self.calls.append((*noisy_latents.shape[:2], "half told" if halves else "told"))
        alpha = SCHEDULER.alphas_cumprod[timesteps][:, None, None, None, None]
        return (alpha.sqrt() * noisy_latents - pose_features[0]) / (1 - alpha).sqrt()


class Deaf(AsGiven):
    """Predicts the same for every frame, from the portrait alone."""

    def forward(self, noisy_latents, timesteps, image_embeds, pose_features, reference_features):
        return torch.zeros_like(noisy_latents) + image_embeds[..., None, None]


class Tilted(Deaf):
    """Predicts a slope whose height is the portrait's."""

    def forward(self, noisy_latents, timesteps, image_embeds, pose_features, reference_features):
        said = super().forward(noisy_latents, timesteps, image_embeds, pose_features, reference_features)
        return (said + 1) * torch.linspace(-1, 1, noisy_latents.shape[-1])


def draw(denoiser, frames=40, **kwargs):
    pose = (torch.randn(1, frames, 2, 4, 4, generator=torch.Generator().manual_seed(3)),)
    settings = {
        "pose_features": pose,
        "image_embeds": EMBEDS,
        "reference_features": {"name": torch.zeros(1, 1, 1)},
        "latent_shape": (1, frames, 2, 4, 4),
        "steps": 4,
        "generator": torch.Generator().manual_seed(0),
    }
    return sample(denoiser, SCHEDULER, **settings | kwargs), pose[0]


@pytest.mark.parametrize(
    "windows", [OpenWindows(), ClosedLoopWindows(), OpenWindows(64, 0), OpenWindows(7, 6)]
)
@pytest.mark.parametrize("frames", [1, 16, 40])
def test_a_denoiser_that_knows_the_answer_gets_there_through_any_windows(windows, frames):
    latents, answer = draw(Oracle(), frames, windows=windows)
    assert latents.dtype == torch.float32
    assert torch.allclose(latents, answer, atol=1e-3)


def test_a_denoiser_that_ignores_frames_moves_all_of_them_alike():
    latents, _ = draw(Deaf(), windows=OpenWindows(8, 3))
    same_noise, _ = draw(Deaf(), windows=OpenWindows(64, 0))
    assert torch.allclose(latents, same_noise, atol=1e-5)


def test_without_guidance_there_is_one_pass_for_each_window_and_step():
    oracle = Oracle()
    draw(oracle, 28)
    assert oracle.calls == [(1, 16, "told")] * 4 * 2


def test_with_guidance_every_pass_is_of_twice_the_clips_of_which_half_have_no_portrait():
    oracle = Oracle()
    draw(oracle, 16, guidance_scale=2.0)
    assert oracle.calls == [(2, 16, "half told")] * 4


def test_guidance_goes_from_the_unconditional_through_the_conditional():
    given = {"image_embeds": EMBEDS, "pose_features": None, "reference_features": None}
    noisy = torch.randn(1, 3, 1, 2, 2)
    for scale, expected in ((1.0, 2.0), (3.5, 7.0), (0.0, 0.0)):
        prediction = GuidedDenoiser(Deaf(), **given, guidance_scale=scale)(noisy, 1, torch.arange(3))
        assert torch.equal(prediction, torch.full_like(noisy, expected))


def test_rescaled_guidance_has_the_contrast_of_each_frames_own_conditional_prediction():
    noise = torch.Generator().manual_seed(0)
    contrast = torch.tensor([1.0, 2.0, 4.0])[None, :, None, None, None]
    conditional = torch.randn(1, 3, 4, 8, 8, generator=noise) * contrast + 1
    guided = 3 * conditional
    assert torch.equal(rescaled(guided, conditional, 0.0), guided)
    assert torch.allclose(rescaled(guided, conditional, 1.0), conditional, atol=1e-5)
    assert torch.allclose(rescaled(guided, conditional, 0.7), conditional * (0.3 * 3 + 0.7), atol=1e-5)
    alone = rescaled(guided[:, 1:2], conditional[:, 1:2], 0.7)
    assert torch.equal(alone, rescaled(guided, conditional, 0.7)[:, 1:2])
    flat = torch.zeros(1, 1, 4, 8, 8)
    assert torch.equal(rescaled(flat, flat, 1.0), flat)


def test_rescaling_reaches_the_samples_of_guided_sampling_alone():
    plain, _ = draw(Tilted(), guidance_scale=3.0)
    calmed, _ = draw(Tilted(), guidance_scale=3.0, guidance_rescale=0.7)
    assert not torch.allclose(plain, calmed)
    unguided = [draw(Tilted(), guidance_rescale=rescale)[0] for rescale in (0.0, 0.7)]
    assert torch.equal(*unguided)


def test_guidance_outside_of_its_interval_is_off_and_costs_nothing():
    oracle = Oracle()
    draw(oracle, 16, guidance_scale=2.0, guidance_interval=(0.2, 0.8))  # 4 steps, at 999, 749, 499, 249
    told, half_told = (1, 16, "told"), (2, 16, "half told")
    assert oracle.calls == [told, half_told, half_told, half_told]
    with pytest.raises(ValueError, match=r"guidance_interval \(0.8, 0.2\) must rise within 0 to 1"):
        draw(oracle, guidance_interval=(0.8, 0.2))


def test_a_seed_says_what_is_sampled_and_the_scheduler_is_left_as_it_was():
    before = SCHEDULER.timesteps.clone()
    one, other = draw(Deaf())[0], draw(Deaf())[0]
    assert torch.equal(one, other)
    assert not torch.equal(one, draw(Deaf(), generator=torch.Generator().manual_seed(1))[0])
    assert torch.equal(SCHEDULER.timesteps, before)


def small_denoiser():
    torch.manual_seed(0)
    sizes = {"in_channels": 2, "block_out_channels": (8, 16), "layers_per_block": 1, "cross_attention_dim": 1}
    net = ReferenceNet(**sizes, attention_head_dim=2, norm_num_groups=4).eval()
    return net, DenoisingUNet(**sizes, attention_head_dim=2, norm_num_groups=4).with_motion(16, 2).eval()


@pytest.mark.parametrize("guidance_scale", [1.0, 3.5])
def test_a_portrait_projected_once_a_video_gives_the_frames_of_one_projected_at_every_step(guidance_scale):
    net, denoiser = small_denoiser()
    with torch.no_grad():
        features = net(torch.randn(1, 2, 4, 4), EMBEDS)
    given = {"pose_features": None, "reference_features": features, "guidance_scale": guidance_scale}
    fast, slow = (
        draw(network, 20, steps=2, generator=torch.Generator().manual_seed(0), **given)[0]
        for network in (denoiser, EveryTime(denoiser))
    )
    assert torch.allclose(fast, slow, atol=1e-5 * float(slow.abs().max()))


def test_the_unconditional_pass_never_attends_to_the_portrait():
    net, denoiser = small_denoiser()
    noisy, frames = torch.randn(2, 3, 2, 4, 4), torch.arange(3)
    with torch.no_grad():
        alone = denoiser(noisy, torch.tensor([500, 500]))
        for portraits in torch.randn(2, 2, 2, 4, 4):
            embeds = EMBEDS.expand(2, 1, 1)
            given = {
                "pose_features": None,
                "image_embeds": embeds,
                "reference_features": net(portraits, embeds),
            }
            guided, told = (
                GuidedDenoiser(denoiser, **given, guidance_scale=scale)(noisy, 500, frames)
                for scale in (0.0, 1.0)
            )
            assert torch.allclose(guided, alone, atol=1e-5)
            assert not torch.allclose(told, alone, atol=1e-3)


def test_a_batch_of_guided_and_unguided_clips_says_of_each_what_it_says_alone():
    net, denoiser = small_denoiser()
    noisy, embeds, scale = torch.randn(2, 3, 2, 4, 4), EMBEDS.expand(2, 1, 1), 3.5
    with torch.no_grad():
        features = net(torch.randn(2, 2, 4, 4), embeds)
        time = torch.tensor([500, 500])
        conditional, unconditional = denoiser(noisy, time, embeds, None, features), denoiser(noisy, time)
        guided = GuidedDenoiser(
            denoiser,
            pose_features=None,
            image_embeds=embeds,
            reference_features=features,
            guidance_scale=scale,
        )(noisy, 500, torch.arange(3))
    expected = unconditional + scale * (conditional - unconditional)
    assert torch.allclose(guided, expected, atol=1e-5 * float(expected.abs().max()))


def test_a_track_of_pose_features_serves_as_well_as_the_features():
    class Same(nn.Module):
        together = False

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, pose_image, reference_pose_image):
            return (pose_image,)

    latents, answer = draw(Oracle(), 28)
    track = PoseTrack(Same(), answer, torch.zeros(1))
    assert torch.equal(draw(Oracle(), 28, pose_features=track)[0], latents)


def test_each_clip_of_a_batch_gets_its_own_answer():
    pose = torch.randn(2, 20, 2, 4, 4)
    settings = {"latent_shape": (2, 20, 2, 4, 4), "image_embeds": EMBEDS.expand(2, 1, 1)}
    one = draw(Oracle(), 20, pose_features=(pose,), **settings)[0]
    other = draw(Oracle(), 20, pose_features=(pose.flip(0),), **settings)[0]
    assert torch.allclose(one, other.flip(0), atol=1e-3)


def test_progress_is_told_of_every_window():
    heard = []
    draw(Oracle(), 28, progress=lambda done, total: heard.append((done, total)))
    assert heard == [(i, 8) for i in range(1, 9)]


@pytest.mark.parametrize("name", SOLVERS)
def test_any_number_of_steps_ends_at_a_time_that_there_is(name):
    """By rounding, diffusers' own has one more for 61 and others, at -1."""
    for steps in (*range(1, 130), 999, 1000):
        scheduler = timed(solver_of(name, SCHEDULER), steps)
        assert len(scheduler.timesteps) == scheduler.num_inference_steps == steps
        assert scheduler.timesteps.min() >= 0
        assert name == "ddim" or len(scheduler.sigmas) == steps + 1


@pytest.mark.parametrize("name", SOLVERS)
def test_a_denoiser_that_knows_the_answer_gets_there_in_61_steps(name):
    answer = torch.tensor(0.5)
    scheduler = timed(solver_of(name, SCHEDULER), 61)
    sample = torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    for step in scheduler.timesteps:
        alpha = SCHEDULER.alphas_cumprod[step]
        velocity = (alpha.sqrt() * sample - answer) / (1 - alpha).sqrt()
        sample = scheduler.step(velocity, step, sample).prev_sample
    assert (sample - answer).abs().max() < 0.05


def test_a_video_of_no_frames_or_steps_is_refused():
    with pytest.raises(ValueError, match=r"steps \(0\) must be at least 1"):
        draw(Oracle(), steps=0)
    with pytest.raises(ValueError, match="a video of 0 frames"):
        draw(Oracle(), frames=0)


@pytest.mark.parametrize("shared", [0.0, 0.5, 1.0])
def test_frames_share_as_much_of_their_noise_as_asked_and_it_stays_normal(shared):
    noise = initial_noise((2, 3, 4, 32, 32), shared, torch.Generator().manual_seed(0), torch.device("cpu"))
    assert float(noise.std()) == pytest.approx(1.0, abs=0.03)
    first, second, other_clip = noise[0, 0].flatten(), noise[0, 1].flatten(), noise[1, 0].flatten()
    assert float(first @ second) / len(first) == pytest.approx(shared, abs=0.06)
    assert float(first @ other_clip) / len(first) == pytest.approx(0.0, abs=0.06)


def test_a_share_of_the_noise_beyond_all_of_it_is_refused():
    with pytest.raises(ValueError, match=r"shared_noise \(1.5\) must be from 0 to 1"):
        draw(Oracle(), shared_noise=1.5)
