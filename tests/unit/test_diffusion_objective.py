"""Noise schedule and training objective."""

import pytest
import torch

from aniportrait.diffusion.noise_schedule import build_scheduler
from aniportrait.diffusion.objective import diffusion_loss, min_snr_weights

LATENTS = torch.randn(4, 3, 2, 4, 4, generator=torch.Generator().manual_seed(1))


def seeded():
    return torch.Generator().manual_seed(0)


class Oracle:
    """Knows the latents, hence the velocity: v = (sqrt(a) x_t - x_0) / sqrt(1 - a)."""

    def __init__(self, scheduler, latents):
        self.alphas, self.latents, self.seen = scheduler.alphas_cumprod, latents, []

    def __call__(self, noisy_latents, timesteps):
        self.seen.append((noisy_latents, timesteps))
        alpha = self.alphas[timesteps][:, None, None, None, None]
        return (alpha.sqrt() * noisy_latents - self.latents) / (1 - alpha).sqrt()


def zeros(noisy_latents, timesteps):
    return torch.zeros_like(noisy_latents)


def test_who_knows_the_latents_has_no_loss():
    scheduler = build_scheduler()
    loss, terms = diffusion_loss(Oracle(scheduler, LATENTS), LATENTS, scheduler=scheduler, generator=seeded())
    assert float(loss) < 1e-5
    assert terms.per_sample.shape == terms.timesteps.shape == (4,)


def test_the_same_generator_gives_the_same_noise_and_times():
    scheduler = build_scheduler()
    first, second = Oracle(scheduler, LATENTS), Oracle(scheduler, LATENTS)
    for oracle in (first, second):
        diffusion_loss(oracle, LATENTS, scheduler=scheduler, generator=seeded(), noise_offset=0.1)
    for one, other in zip(first.seen[0], second.seen[0], strict=True):
        assert torch.equal(one, other)


def test_every_timestep_has_a_finite_loss_and_its_weight():
    scheduler = build_scheduler()
    timesteps = torch.arange(1000)
    weights = min_snr_weights(scheduler, timesteps, 5.0)
    assert weights[999] == 1  # no signal: snr 0
    assert torch.isfinite(weights).all()
    assert torch.all(weights[161:] == 1)
    assert weights[0] < 0.01


def test_the_loss_is_the_weighted_mean_of_its_terms():
    scheduler = build_scheduler()
    loss, terms = diffusion_loss(zeros, LATENTS, scheduler=scheduler, generator=seeded(), snr_gamma=5.0)
    expected = (terms.per_sample * min_snr_weights(scheduler, terms.timesteps, 5.0)).mean()
    assert torch.allclose(loss, expected)
    plain, _ = diffusion_loss(zeros, LATENTS, scheduler=scheduler, generator=seeded())
    assert torch.allclose(plain, terms.per_sample.mean())


def test_pixel_weights_choose_where_errors_count():
    scheduler = build_scheduler()
    left = torch.zeros(4, 3, 1, 4, 4)
    left[..., :2] = 7.0

    def wrong_on_the_right(noisy_latents, timesteps):
        prediction = Oracle(scheduler, LATENTS)(noisy_latents, timesteps)
        prediction[..., 2:] += 1
        return prediction

    loss, _ = diffusion_loss(
        wrong_on_the_right, LATENTS, scheduler=scheduler, generator=seeded(), weight=left
    )
    assert float(loss) < 1e-5
    loss, _ = diffusion_loss(
        wrong_on_the_right, LATENTS, scheduler=scheduler, generator=seeded(), weight=left.flip(-1)
    )
    assert float(loss) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(
    ("errors", "expected"),
    [((1.0, 1.0, 1.0), 1.0), ((1.0, -1.0, 1.0), 1 + 3.0 * 4)],
    ids=["standing", "flickering"],
)
def test_changes_from_frame_to_frame_count_besides_the_frames(errors, expected):
    scheduler = build_scheduler()

    def wrong(noisy_latents, timesteps):
        prediction = Oracle(scheduler, LATENTS)(noisy_latents, timesteps)
        return prediction + torch.tensor(errors)[None, :, None, None, None]

    settings = {"scheduler": scheduler, "generator": seeded(), "change_weight": 3.0}
    loss, terms = diffusion_loss(wrong, LATENTS, **settings)
    assert float(loss) == pytest.approx(expected, abs=1e-3)
    assert torch.allclose(terms.per_sample, torch.ones(4), atol=1e-3)


def test_the_noise_offset_is_equal_over_a_channel_of_a_clip():
    scheduler = build_scheduler()
    oracle = Oracle(scheduler, LATENTS)
    diffusion_loss(oracle, LATENTS, scheduler=scheduler, generator=seeded(), noise_offset=1e4)
    noisy_latents, timesteps = oracle.seen[0]
    alpha = scheduler.alphas_cumprod[timesteps][:, None, None, None, None]
    offset = (noisy_latents - alpha.sqrt() * LATENTS) / (1 - alpha).sqrt() / 1e4
    assert float(offset.std(dim=(1, 3, 4)).max()) < 1e-3
    assert float(offset.mean(dim=(1, 3, 4)).std()) > 0.3


def test_epsilon_and_velocity_are_what_the_scheduler_says():
    scheduler = build_scheduler(prediction_type="epsilon", rescale_betas_zero_snr=False)

    def noise(noisy_latents, timesteps):
        alpha = scheduler.alphas_cumprod[timesteps][:, None, None, None, None]
        return (noisy_latents - alpha.sqrt() * LATENTS) / (1 - alpha).sqrt()

    loss, _ = diffusion_loss(noise, LATENTS, scheduler=scheduler, generator=seeded())
    assert float(loss) < 1e-4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beta_schedule": "cosine"}, "beta_schedule 'cosine' must be one of linear, scaled_linear"),
        (
            {"prediction_type": "score"},
            "prediction_type 'score' must be one of v_prediction, sample, epsilon",
        ),
        ({"prediction_type": "epsilon"}, "rescale_betas_zero_snr needs prediction_type v_prediction"),
    ],
)
def test_schedules_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        build_scheduler(**settings)


def test_a_denoiser_that_says_the_clean_latents_has_no_loss():
    scheduler = build_scheduler(prediction_type="sample")
    latents = torch.randn(2, 1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    loss, _ = diffusion_loss(lambda noisy, timesteps: latents, latents, scheduler=scheduler)
    assert loss == 0
