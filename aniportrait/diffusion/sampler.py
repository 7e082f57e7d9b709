"""Sampling a video of any length with a denoiser that sees a window at a time."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.utils.torch_utils import randn_tensor
from torch import Generator, Tensor

from aniportrait.diffusion.context import OpenWindows, Windows
from aniportrait.diffusion.guidance import guided_prediction
from aniportrait.diffusion.pose_track import PoseTrack

DEFAULT_WINDOWS = OpenWindows()


@torch.no_grad()
def sample(
    denoiser: Any,
    scheduler: DDIMScheduler,
    *,
    pose_features: PoseTrack | Sequence[Tensor] | None,
    image_embeds: Tensor,
    reference_features: dict[str, Tensor] | None,
    latent_shape: tuple[int, int, int, int, int],
    steps: int = 25,
    guidance_scale: float = 1.0,
    guidance_rescale: float = 0.0,
    guidance_interval: tuple[float, float] = (0.0, 1.0),
    shared_noise: float = 0.0,
    windows: Windows = DEFAULT_WINDOWS,
    generator: Generator | list[Generator] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Latents from noise: at every step the windows' predictions are averaged, then the video takes one step.

    Args:
        denoiser: called as DenoisingUNet is; what it makes of the portrait is `projected` once, for all frames,
            windows and steps.
        scheduler: of the denoiser's training; it is left as it is.
        pose_features: a track that is asked for each window, or all frames' features, (b, f, c, h, w) each.
        image_embeds: (b, 1, d); its device and dtype are the denoiser's.
        reference_features: name -> (b, l, c).
        latent_shape: (b, f, c, h, w) of the result.
        steps: of the scheduler.
        guidance_scale: w in u + w (c - u); 1.0 is off and costs one pass.
        guidance_rescale: share of the contrast that guidance adds to be taken back, 0 to 1; see `rescaled`.
        guidance_interval: from and to which time of the schedule, 0 (clean) to 1 (noise), there is guidance; outside it
            costs nothing. It does its work in the middle (https://arxiv.org/abs/2404.07724).
        shared_noise: see `initial_noise`.
        windows: which frames are denoised together.
        generator: of the noise, drawn once for all frames; a list has one for each item of the batch.
        progress: called with (windows done, windows in all) after each window of each step.

    Returns:
        (b, f, c, h, w) float32 latents.
    """
    if steps < 1:
        raise ValueError(f"steps ({steps}) must be at least 1")
    begin, end = guidance_interval
    if not 0 <= begin < end <= 1:
        raise ValueError(f"guidance_interval ({begin}, {end}) must rise within 0 to 1")
    if latent_shape[1] < 1:
        raise ValueError(f"a video of {latent_shape[1]} frames cannot be sampled: it must have at least 1")
    device, dtype = image_embeds.device, image_embeds.dtype
    scheduler = copy.deepcopy(scheduler)
    scheduler.set_timesteps(steps)
    answers, keys_and_values = denoiser.projected(image_embeds, reference_features)
    plan = [(frames.to(device), weights.to(device)) for frames, weights in windows(latent_shape[1])]
    latents = initial_noise(latent_shape, shared_noise, generator, device)
    done, total = 0, steps * len(plan)
    for timestep in scheduler.timesteps:
        guided = begin <= int(timestep) / scheduler.config["num_train_timesteps"] < end
        timesteps = timestep.to(device).expand(latent_shape[0])
        summed = torch.zeros_like(latents)
        weight = torch.zeros(latent_shape[1], device=device)
        for frames, weights in plan:
            prediction = guided_prediction(
                denoiser,
                latents[:, frames].to(dtype),
                timesteps,
                image_embeds=answers,
                pose_features=_of_window(pose_features, frames),
                reference_features=keys_and_values,
                guidance_scale=guidance_scale if guided else 1.0,
                guidance_rescale=guidance_rescale,
            )
            summed.index_add_(1, frames, prediction.float() * weights[:, None, None, None])
            weight.index_add_(0, frames, weights)
            done += 1
            if progress is not None:
                progress(done, total)
        average = summed / weight[:, None, None, None]
        latents = scheduler.step(average, int(timestep), latents, eta=0.0, return_dict=False)[0]
    return latents


def initial_noise(
    shape: tuple[int, int, int, int, int],
    shared: float,
    generator: Generator | list[Generator] | None,
    device: torch.device,
) -> Tensor:
    """Standard normal noise (b, f, c, h, w), of which the frames of a clip have a part in common.

    What differs between the noises of two frames shows as flicker, all the more the less the denoiser knows of time
    (https://arxiv.org/abs/2305.10474).

    Args:
        shared: part of the variance that is common to all frames, 0 to 1. AniPortrait: 0.
    """
    if not 0 <= shared <= 1:
        raise ValueError(f"shared_noise ({shared}) must be from 0 to 1")
    noise = randn_tensor(shape, generator=generator, device=device, dtype=torch.float32)
    if shared == 0:
        return noise
    b, _, *rest = shape
    common = randn_tensor((b, 1, *rest), generator=generator, device=device, dtype=torch.float32)
    return (1 - shared) ** 0.5 * noise + shared**0.5 * common


def _of_window(
    pose_features: PoseTrack | Sequence[Tensor] | None, frames: Tensor
) -> tuple[Tensor, ...] | None:
    """The features (b, n, c, h, w) of a window's frames (n,)."""
    if pose_features is None:
        return None
    if isinstance(pose_features, PoseTrack):
        return pose_features(frames)
    return tuple(feature[:, frames] for feature in pose_features)
