"""A portrait and a path of meshes and head poses -> frames of that face moving."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from diffusers import DDIMScheduler
from torch import Generator, Tensor

from aniportrait.diffusion.context import ClosedLoopWindows, OpenWindows
from aniportrait.diffusion.pose_track import PoseTrack
from aniportrait.diffusion.sampler import sample
from aniportrait.face.draw import draw_pose_image
from aniportrait.models.portrait_networks import PortraitNetworks


@dataclass(frozen=True)
class SamplingSettings:
    """How frames are sampled.

    Args:
        steps: of the solver.
        guidance_scale: w in u + w (c - u); 1 is off.
        guidance_rescale: share of the contrast that guidance adds to be taken back, 0 to 1.
        guidance_interval: from and to which time of the schedule there is guidance, 0 (clean) to 1 (noise).
        shared_noise: part of the noise that all frames have in common, 0 to 1.
        seed: of the noise.
    """

    steps: int
    guidance_scale: float = 1.0
    guidance_rescale: float = 0.0
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    shared_noise: float = 0.0
    seed: int = 42

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps ({self.steps}) must be at least 1")
        if not 0 <= self.guidance_rescale <= 1:
            raise ValueError(f"guidance_rescale ({self.guidance_rescale}) must be from 0 to 1")

    @property
    def guidance_words(self) -> str:
        """As in "2 between times 0.2 and 0.8, rescaled by 0.7"."""
        words = f"{self.guidance_scale:g}"
        if self.guidance_scale != 1 and self.guidance_interval != (0.0, 1.0):
            words += f" between times {self.guidance_interval[0]:g} and {self.guidance_interval[1]:g}"
        return words + (f", rescaled by {self.guidance_rescale:g}" if self.guidance_rescale else "")


class PortraitPipeline:
    """Samples frames of one portrait with the networks of Lmk2Video.

    Args:
        networks: in eval mode, on the device that is to be used.
        scheduler: the noise schedule of the networks' training.
        image_size: side of the frames, pixels.
        windows: frames denoised together.
    """

    def __init__(
        self,
        networks: PortraitNetworks,
        scheduler: DDIMScheduler,
        image_size: int,
        windows: OpenWindows | ClosedLoopWindows,
    ):
        self.networks = networks
        self.scheduler = scheduler
        self.image_size = image_size
        self.windows = windows

    @property
    def device(self) -> torch.device:
        return next(self.networks.parameters()).device

    def __call__(
        self,
        portrait: np.ndarray,
        portrait_points: np.ndarray,
        points: np.ndarray,
        settings: SamplingSettings,
        progress: Callable[[int, int], None] | None = None,
    ) -> np.ndarray:
        """(f, image_size, image_size, 3) uint8 RGB; Args as of `samplings`."""
        return self.samplings(
            portrait, portrait_points, points, settings, seeds=[settings.seed], progress=progress
        )[0]

    @torch.inference_mode()
    def samplings(
        self,
        portrait: np.ndarray,
        portrait_points: np.ndarray,
        points: np.ndarray,
        settings: SamplingSettings,
        seeds: Sequence[int],
        progress: Callable[[int, int], None] | None = None,
    ) -> np.ndarray:
        """The same frames from several noises, as one batch.

        Args:
            portrait: (h, w, 3) uint8 RGB, square.
            portrait_points: (468 or more, 2 or 3) its landmarks in [0, 1].
            points: (f, 468 or more, 2 or 3) the landmarks to show, in [0, 1].
            seeds: of each sampling's noise, in place of the settings' own.
            progress: called with (steps done, steps in all).
        Returns:
            (samplings, f, image_size, image_size, 3) uint8 RGB.
        """
        count = len(seeds)
        known = self.networks.portrait(image_to_tensor(portrait, self.image_size)[None].to(self.device))
        pose_track = PoseTrack(
            self.networks.pose_guider,
            self.pose_images(points)[None].expand(count, -1, -1, -1, -1),
            self.pose_images(portrait_points[None]).expand(count, -1, -1, -1),
        )
        side = self.image_size // self.networks.autoencoder.factor
        features = known.reference_features
        latents = sample(
            self.networks.denoising_unet,
            self.scheduler,
            pose_features=pose_track,
            image_embeds=known.image_embeds.expand(count, -1, -1),
            reference_features={name: tokens.expand(count, -1, -1) for name, tokens in features.items()},
            latent_shape=(count, len(points), self.networks.autoencoder.latent_channels, side, side),
            steps=settings.steps,
            guidance_scale=settings.guidance_scale,
            guidance_rescale=settings.guidance_rescale,
            guidance_interval=settings.guidance_interval,
            shared_noise=settings.shared_noise,
            windows=self.windows,
            generator=[Generator(self.device).manual_seed(seed) for seed in seeds],
            progress=progress,
        )
        latents = self.networks.latent_space.decode(latents, known.reference_latents)
        return np.stack([tensor_to_images(frames) for frames in self.networks.decode(latents)])

    def pose_images(self, points: np.ndarray) -> Tensor:
        """(f, n, 2 or 3) points in [0, 1] -> (f, 3, h, w) drawn landmarks in [-1, 1], in main memory."""
        drawn = [draw_pose_image(frame, self.image_size, self.image_size) for frame in points]
        return torch.stack([image_to_tensor(image, self.image_size) for image in drawn])


def image_to_tensor(image: np.ndarray, size: int) -> Tensor:
    """(h, w, 3) uint8 -> (3, size, size) in [-1, 1]."""
    if image.shape[:2] != (size, size):
        shrinking = size < image.shape[0]
        image = cv2.resize(
            image, (size, size), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC
        )
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float() / 127.5 - 1.0


def tensor_to_images(frames: Tensor) -> np.ndarray:
    """(f, 3, h, w) in [-1, 1] -> (f, h, w, 3) uint8."""
    return ((frames.float() + 1.0) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
