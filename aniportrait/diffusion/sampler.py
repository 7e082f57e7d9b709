"""Sampling a video of any length with a denoiser that sees a window at a time."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Generator, Tensor

from aniportrait.diffusion.context import OpenWindows, Windows
from aniportrait.diffusion.guidance import GuidedDenoiser
from aniportrait.diffusion.pose_track import PoseTrack
from aniportrait.diffusion.wavefront import Wavefront

DEFAULT_WINDOWS = OpenWindows()


@torch.no_grad()
def sample(
    denoiser: Any,
    scheduler: Any,
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
        denoiser, pose_features, image_embeds, reference_features: see GuidedDenoiser, and there guidance_*.
        scheduler: one of diffusers', of the denoiser's training; it is left as it is.
        latent_shape: (b, f, c, h, w) of the result.
        steps: of the scheduler.
        shared_noise: see `initial_noise`.
        windows: which frames are denoised together.
        generator: of the noise, drawn once for all frames; a list has one for each item of the batch.
        progress: called with (windows done, windows in all) after each window of each step.

    Returns:
        (b, f, c, h, w) float32 latents.
    """
    if latent_shape[1] < 1:
        raise ValueError(f"a video of {latent_shape[1]} frames cannot be sampled: it must have at least 1")
    predict = GuidedDenoiser(
        denoiser,
        pose_features=pose_features,
        image_embeds=image_embeds,
        reference_features=reference_features,
        guidance_scale=guidance_scale,
        guidance_rescale=guidance_rescale,
        guidance_interval=guidance_interval,
        last_timestep=scheduler.config["num_train_timesteps"],
    )
    noise = DrawnNoise(initial_noise(latent_shape, shared_noise, generator, image_embeds.device))
    plan = windows(latent_shape[1])
    return torch.cat(list(Wavefront(predict, timed(scheduler, steps), plan, noise, progress)), dim=1)


def timed(scheduler: Any, steps: int) -> Any:
    """A copy of the scheduler that takes this many steps."""
    if steps < 1:
        raise ValueError(f"steps ({steps}) must be at least 1")
    scheduler = copy.deepcopy(scheduler)
    scheduler.set_timesteps(steps)
    if len(scheduler.timesteps) > steps:  # 61 and others: by rounding, one more at -1, which is no time
        scheduler.timesteps = scheduler.timesteps[:steps]
        if hasattr(scheduler, "sigmas"):
            scheduler.sigmas = torch.cat((scheduler.sigmas[:steps], scheduler.sigmas[-1:]))
            scheduler.num_inference_steps = steps
    return scheduler


class DrawnNoise:
    """Noise (b, f, c, h, w) that is there already."""

    def __init__(self, noise: Tensor):
        self._noise = noise

    def __call__(self, frame: int) -> Tensor:
        return self._noise[:, frame]

    def state(self) -> dict[str, Tensor]:
        return {}


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
