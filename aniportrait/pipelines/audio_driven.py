"""A portrait and a voice -> frames of that person speaking."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Generator, Tensor, nn

from aniportrait.data.schema import SAMPLE_RATE
from aniportrait.face.head_pose import pose_matrices, project, smooth_head_pose
from aniportrait.models.pose_decoder import check_style
from aniportrait.pipelines.picture import Picture
from aniportrait.pipelines.portrait import PortraitPipeline, SamplingSettings


class HeadMotion(Protocol):
    """Decides how the head moves: (audio (1, n), frames, generator) -> head pose (frames, 6), degrees and cm."""

    def __call__(self, audio: Tensor, frames: int, generator: Generator) -> np.ndarray: ...


class PredictedMotion:
    """Head motion that audio2pose hears in the voice.

    Args:
        audio2pose: the network, in eval mode.
        style: which training identity's motion; None for their mean.
        smoothing: odd number of frames averaged on SO(3).
    """

    def __init__(self, audio2pose: Any, style: int | None = None, smoothing: int = 5):
        check_style(style, audio2pose.identity)
        self.audio2pose = audio2pose
        self.style = style
        self.smoothing = smoothing

    def __call__(self, audio: Tensor, frames: int, generator: Generator) -> np.ndarray:
        style = None if self.style is None else torch.tensor([self.style], device=audio.device)
        head_pose = self.audio2pose.sample(audio, frames, style, generator)[0].cpu().numpy()
        return smooth_head_pose(head_pose, self.smoothing)


class StillHead:
    """The head stays as the portrait holds it."""

    def __call__(self, audio: Tensor, frames: int, generator: Generator) -> np.ndarray:
        return np.zeros((frames, 6))


class AudioDriven:
    """Speech -> meshes and head poses -> landmarks -> frames.

    Args:
        audio2mesh: the network, in eval mode.
        head_motion: how the head moves.
        portrait: the frame sampler.
        fps: frames per second of all networks.
    """

    def __init__(
        self, audio2mesh: nn.Module, head_motion: HeadMotion, portrait: PortraitPipeline, fps: float
    ):
        self.audio2mesh = audio2mesh
        self.head_motion = head_motion
        self.portrait = portrait
        self.fps = fps

    def landmarks(self, picture: Picture, audio: np.ndarray, seed: int) -> np.ndarray:
        """(f, 468, 2) landmarks in [0, 1] of the portrait speaking; f is the sound's length at `fps`, at least 1.

        Args: audio (n,) in [-1, 1] at 16 kHz; seed of the head motion.
        """
        frames = max(1, round(len(audio) / SAMPLE_RATE * self.fps))
        device = self.portrait.device
        sound = torch.from_numpy(np.asarray(audio, np.float32))[None].to(device)
        with torch.inference_mode():
            offsets = self.audio2mesh(sound, frames)[0].cpu().numpy()
        head_pose = self.head_motion(sound, frames, Generator(device).manual_seed(seed))
        matrices = pose_matrices(head_pose, picture.track.pose_matrix[0])
        return project(picture.track.vertices + offsets, matrices, 1, 1)

    def __call__(
        self,
        picture: Picture,
        audio: np.ndarray,
        settings: SamplingSettings,
        progress: Callable[[int, int], None] | None = None,
    ) -> np.ndarray:
        """(f, h, w, 3) uint8 frames of the portrait speaking; see `landmarks`."""
        points = self.landmarks(picture, audio, settings.seed)
        return self.portrait(picture.image, picture.track.landmarks[0], points, settings, progress)
