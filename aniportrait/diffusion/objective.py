"""The training objective of the denoiser."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.training_utils import compute_snr
from diffusers.utils.torch_utils import randn_tensor
from torch import Generator, Tensor

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""(noisy latents (b, f, c, h, w), timesteps (b,)) -> prediction (b, f, c, h, w), conditions bound already."""


class DiffusionTerms(NamedTuple):
    """Of each sample, (b,): unweighted mean squared error, timestep, mean of the noise."""

    per_sample: Tensor
    timesteps: Tensor
    noise_mean: Tensor


def diffusion_loss(
    denoiser: Denoiser,
    latents: Tensor,
    *,
    scheduler: DDIMScheduler,
    generator: Generator | list[Generator] | None = None,
    noise_offset: float = 0.0,
    snr_gamma: float | None = None,
    weight: Tensor | None = None,
    change_weight: float = 0.0,
) -> tuple[Tensor, DiffusionTerms]:
    """Noise the latents, let the denoiser predict, compare.

    Args:
        denoiser: see Denoiser.
        latents: (b, f, c, h, w) scaled.
        scheduler: says how much noise each timestep has and what is predicted.
        generator: of timesteps and noise; a list has one for each sample, which then does not depend on the others.
        noise_offset: share of noise that is equal for a whole channel of a clip.
        snr_gamma: cap of the signal-to-noise ratio in `min_snr_weights`; None or 0: all weigh the same.
        weight: (b, f, 1, h, w) of each latent pixel; its mean over a sample does not matter.
        change_weight: of the squared error of the changes from each frame to the next, added to that of the frames.
            What is wrong in all frames alike has no part in it, what flickers has twice its own square.
            All pixels weigh alike in it.

    Returns:
        the loss, a scalar, and DiffusionTerms.
    """
    b, _, c = latents.shape[:3]
    noise = randn_tensor(latents.shape, generator=generator, device=latents.device, dtype=latents.dtype)
    if noise_offset:
        offset = randn_tensor(
            (b, 1, c, 1, 1), generator=generator, device=latents.device, dtype=latents.dtype
        )
        noise = noise + noise_offset * offset
    timesteps = _random_timesteps(scheduler.config["num_train_timesteps"], b, generator).to(latents.device)
    noisy_latents = scheduler.add_noise(latents, noise, timesteps)  # pyright: ignore[reportArgumentType]
    prediction = denoiser(noisy_latents, timesteps)
    wrong = prediction.float() - prediction_target(scheduler, latents, noise, timesteps).float()
    error = wrong.square()
    if weight is not None:
        error = error * (weight / weight.mean(dim=(1, 2, 3, 4), keepdim=True))
    per_sample = error.mean(dim=(1, 2, 3, 4))
    weights = min_snr_weights(scheduler, timesteps, snr_gamma) if snr_gamma else 1.0
    penalised = per_sample
    if change_weight and latents.shape[1] > 1:
        penalised = per_sample + change_weight * wrong.diff(dim=1).square().mean(dim=(1, 2, 3, 4))
    return (penalised * weights).mean(), DiffusionTerms(
        per_sample.detach(), timesteps, noise.mean(dim=(1, 2, 3, 4))
    )


def _random_timesteps(below: int, count: int, generator: Generator | list[Generator] | None) -> Tensor:
    if isinstance(generator, list):
        return torch.cat([_random_timesteps(below, 1, own) for own in generator])
    return torch.randint(below, (count,), generator=generator, device=generator and generator.device)


def prediction_target(scheduler: DDIMScheduler, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """What a perfect denoiser says: the velocity, the noise or the clean latents, in the shape of the latents."""
    if scheduler.config["prediction_type"] == "epsilon":
        return noise
    if scheduler.config["prediction_type"] == "sample":
        return latents
    return scheduler.get_velocity(latents, noise, timesteps)  # pyright: ignore[reportArgumentType]


def min_snr_weights(scheduler: DDIMScheduler, timesteps: Tensor, gamma: float) -> Tensor:
    """Min-SNR weights (b,) of timesteps (b,) (https://arxiv.org/abs/2303.09556).

    In the form AniPortrait published: for velocities min(snr + 1, gamma) / (snr + 1), one on both sides. For clean
    latents it is min(snr, gamma).
    """
    snr = compute_snr(scheduler, timesteps)
    if scheduler.config["prediction_type"] == "sample":
        return snr.clamp(max=gamma)
    if scheduler.config["prediction_type"] == "v_prediction":
        snr = snr + 1
    return snr.clamp(max=gamma) / snr
