"""A portrait and a path of meshes and head poses -> frames of that face moving."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import cv2
import numpy as np
import torch
from diffusers import DDIMScheduler
from torch import Generator, Tensor

from aniportrait.diffusion.context import ClosedLoopWindows, OpenWindows
from aniportrait.diffusion.frame_noise import FrameNoise
from aniportrait.diffusion.guidance import GuidedDenoiser
from aniportrait.diffusion.pose_track import PoseTrack
from aniportrait.diffusion.sampler import sample, timed
from aniportrait.diffusion.solvers import solver_of
from aniportrait.diffusion.wavefront import Wavefront
from aniportrait.face.draw import draw_pose_images
from aniportrait.models.freed_memory import keep_freed_memory
from aniportrait.models.portrait_networks import Portrait, PortraitNetworks
from aniportrait.pipelines.sampling_settings import SamplingSettings

DECODED = 32
"""Frames whose decoded pictures are in memory as floats."""


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
        unet = networks.denoising_unet.unet
        step = networks.autoencoder.factor * 2 ** (len(unet.config["block_out_channels"]) - 1)
        if image_size < step or image_size % step:
            raise ValueError(f"image_size ({image_size}) must be a multiple of {step} for these networks")
        self.networks = networks
        self.scheduler = scheduler
        self.image_size = image_size
        self.windows = windows

    @property
    def device(self) -> torch.device:
        return next(self.networks.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.networks.denoising_unet.parameters()).dtype

    def __call__(
        self,
        portrait: np.ndarray,
        portrait_points: np.ndarray,
        points: np.ndarray,
        settings: SamplingSettings,
        progress: Callable[[int, int], None] | None = None,
    ) -> np.ndarray:
        """(f, image_size, image_size, 3) uint8 RGB; Args as of `stream`."""
        return np.concatenate(list(self.stream(portrait, portrait_points, points, settings, progress)))

    def stream(
        self,
        portrait: np.ndarray,
        portrait_points: np.ndarray,
        points: np.ndarray,
        settings: SamplingSettings,
        progress: Callable[[int, int], None] | None = None,
        state: Mapping[str, Tensor] | None = None,
    ) -> "FrameStream":
        """Frames in order, each as soon as it is finished; memory does not grow with their number.

        Args:
            portrait: (h, w, 3) uint8 RGB, square.
            portrait_points: (468 or more, 2 or 3) its landmarks in [0, 1].
            points: (f, 468 or more, 2 or 3) the landmarks to show, in [0, 1].
            progress: called with (steps done, steps in all).
            state: of a FrameStream of the same arguments, to go on after its last block.
        """
        return FrameStream(self, portrait, portrait_points, points, settings, progress, state)

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
        """The same frames from several noises, as one batch; Args as of `stream`, and

        Args:
            seeds: of each sampling's noise, in place of the settings' own.
        Returns:
            (samplings, f, image_size, image_size, 3) uint8 RGB.
        """
        count = len(seeds)
        known = self.known(portrait)
        pose_track = PoseTrack(
            self.networks.pose_guider,
            self.pose_images(points)[None].expand(count, -1, -1, -1, -1),
            self.pose_images(portrait_points[None]).expand(count, -1, -1, -1),
        )
        features = known.reference_features
        latents = sample(
            self.networks.denoising_unet,
            solver_of(settings.solver, self.scheduler),
            pose_features=pose_track,
            image_embeds=known.image_embeds.expand(count, -1, -1),
            reference_features={name: tokens.expand(count, -1, -1) for name, tokens in features.items()},
            latent_shape=(count, len(points), *self.latent_shape),
            steps=settings.steps,
            guidance_scale=settings.guidance_scale,
            guidance_rescale=settings.guidance_rescale,
            guidance_interval=settings.guidance_interval,
            shared_noise=settings.shared_noise,
            windows=self.windows,
            generator=[Generator(self.device).manual_seed(seed) for seed in seeds],
            progress=progress,
        )
        return self.images(latents, known)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(c, h, w) of a frame's latents."""
        side = self.image_size // self.networks.autoencoder.factor
        return self.networks.autoencoder.latent_channels, side, side

    def known(self, portrait: np.ndarray) -> Portrait:
        """What the networks know of a portrait (h, w, 3) uint8."""
        image = image_to_tensor(portrait, self.image_size)[None]
        return self.networks.portrait(image.to(self.device, self.dtype))

    def images(self, latents: Tensor, known: Portrait) -> np.ndarray:
        """Sampled latents (b, f, c, h, w) -> (b, f, image_size, image_size, 3) uint8."""
        decoded = []
        for part in latents.to(self.dtype).split(DECODED, dim=1):
            part = self.networks.latent_space.decode(part, known.reference_latents)
            decoded.append(np.stack([tensor_to_images(frames) for frames in self.networks.decode(part)]))
        return np.concatenate(decoded, axis=1)

    def pose_images(self, points: np.ndarray) -> Tensor:
        """(f, n, 2 or 3) points in [0, 1] -> (f, 3, h, w) drawn landmarks in [-1, 1], in main memory."""
        drawn = draw_pose_images(points, self.image_size)
        return torch.from_numpy(drawn).permute(0, 3, 1, 2).float() / 127.5 - 1.0


class FrameStream:
    """A video's frames, sampled while they are iterated over, once; see `PortraitPipeline.stream`.

    Between two blocks, `state` is all that another stream of the same arguments needs to go on.
    """

    @torch.inference_mode()
    def __init__(
        self,
        pipeline: PortraitPipeline,
        portrait: np.ndarray,
        portrait_points: np.ndarray,
        points: np.ndarray,
        settings: SamplingSettings,
        progress: Callable[[int, int], None] | None,
        state: Mapping[str, Tensor] | None,
    ):
        if not len(points):
            raise ValueError("a video of 0 frames cannot be sampled: it must have at least 1")
        device, state = pipeline.device, dict(state or {})
        if device.type == "cpu":
            keep_freed_memory()  # from here on: what reading a long sound takes for a moment is given back before
        self._pipeline, self._known = pipeline, pipeline.known(portrait)
        self._pose_track = PoseTrack(
            pipeline.networks.pose_guider,
            lambda frames: pipeline.pose_images(points[frames.numpy()])[None],
            pipeline.pose_images(portrait_points[None]),
        )
        solver = solver_of(settings.solver, pipeline.scheduler)
        predict = GuidedDenoiser(
            pipeline.networks.denoising_unet,
            pose_features=self._pose_track,
            image_embeds=self._known.image_embeds,
            reference_features=self._known.reference_features,
            guidance_scale=settings.guidance_scale,
            guidance_rescale=settings.guidance_rescale,
            guidance_interval=settings.guidance_interval,
            last_timestep=solver.config["num_train_timesteps"],
        )
        state = {name: value.to(device) for name, value in state.items()}
        drawn = {
            name.removeprefix("noise."): value for name, value in state.items() if name.startswith("noise.")
        }
        noise = FrameNoise(
            pipeline.latent_shape,
            settings.shared_noise,
            [Generator(device).manual_seed(settings.seed)],
            drawn,
        )
        self._wavefront = Wavefront(
            predict, timed(solver, settings.steps), pipeline.windows(len(points)), noise, progress, state
        )

    @property
    def finished(self) -> int:
        """Frames of all blocks so far, those before `state` too."""
        return self._wavefront.finished

    def __len__(self) -> int:
        return self._wavefront.frames

    def __iter__(self) -> Iterator[np.ndarray]:
        """(n, image_size, image_size, 3) uint8 RGB of the next n frames."""
        blocks = iter(self._wavefront)
        while (images := self._next(blocks)) is not None:
            yield images

    @torch.inference_mode()
    def _next(self, blocks: Iterator[Tensor]) -> np.ndarray | None:
        latents = next(blocks, None)
        if latents is None:
            return None
        self._pose_track.forget(self.finished)
        return self._pipeline.images(latents, self._known)[0]

    def state(self) -> dict[str, Tensor]:
        """In main memory."""
        return {name: value.cpu() for name, value in self._wavefront.state().items()}


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
