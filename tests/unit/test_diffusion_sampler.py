"""Sampling with denoisers whose properties make the answer computable."""

import pytest
import torch
from torch import nn

from aniportrait.diffusion.context import ClosedLoopWindows, OpenWindows
from aniportrait.diffusion.guidance import guided_prediction
from aniportrait.diffusion.noise_schedule import build_scheduler
from aniportrait.diffusion.sampler import sample

SCHEDULER = build_scheduler()
EMBEDS = torch.full((1, 1, 1), 2.0)


class AsGiven(nn.Module):
    """Makes nothing of the portrait beforehand."""

    def projected(self, image_embeds, reference_features):
        return image_embeds, reference_features


class Oracle(AsGiven):
    """Predicts the velocity towards the values in its first pose feature; counts its calls."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def forward(self, noisy_latents, timesteps, image_embeds, pose_features, reference_features):
        self.calls.append((noisy_latents.shape[1], image_embeds is not None, reference_features is not None))
        alpha = SCHEDULER.alphas_cumprod[timesteps][:, None, None, None, None]
        return (alpha.sqrt() * noisy_latents - pose_features[0]) / (1 - alpha).sqrt()


class Deaf(AsGiven):
    """Predicts the same for every frame, from the portrait alone."""

    def forward(self, noisy_latents, timesteps, image_embeds, pose_features, reference_features):
        value = 0.0 if image_embeds is None else image_embeds[..., None, None]
        return torch.zeros_like(noisy_latents) + value


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
    assert oracle.calls == [(16, True, True)] * 4 * 2


def test_with_guidance_every_second_pass_sees_no_portrait():
    oracle = Oracle()
    draw(oracle, 16, guidance_scale=2.0)
    assert oracle.calls == [(16, True, True), (16, False, False)] * 4


def test_guidance_goes_from_the_unconditional_through_the_conditional():
    given = {"image_embeds": EMBEDS, "pose_features": None, "reference_features": None}
    noisy = torch.randn(1, 3, 1, 2, 2)
    for scale, expected in ((1.0, 2.0), (3.5, 7.0), (0.0, 0.0)):
        prediction = guided_prediction(Deaf(), noisy, torch.tensor([1]), **given, guidance_scale=scale)
        assert torch.equal(prediction, torch.full_like(noisy, expected))


def test_a_seed_says_what_is_sampled_and_the_scheduler_is_left_as_it_was():
    before = SCHEDULER.timesteps.clone()
    one, other = draw(Deaf())[0], draw(Deaf())[0]
    assert torch.equal(one, other)
    assert not torch.equal(one, draw(Deaf(), generator=torch.Generator().manual_seed(1))[0])
    assert torch.equal(SCHEDULER.timesteps, before)


def test_progress_is_told_of_every_window():
    heard = []
    draw(Oracle(), 28, progress=lambda done, total: heard.append((done, total)))
    assert heard == [(i, 8) for i in range(1, 9)]


def test_a_video_of_no_frames_or_steps_is_refused():
    with pytest.raises(ValueError, match=r"steps \(0\) must be at least 1"):
        draw(Oracle(), steps=0)
    with pytest.raises(ValueError, match="a video of 0 frames"):
        draw(Oracle(), frames=0)
