"""How the head moves while it speaks: as predicted, as a template says, or not at all."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Generator, Tensor

from aniportrait.data.schema import SAMPLE_RATE
from aniportrait.face.head_pose import relative_head_pose, resampled_head_pose, smooth_head_pose
from aniportrait.face.track import FaceTrack
from aniportrait.models.pose_decoder import check_style

PUBLISHED_TEMPLATE_FPS = 30.0
"""Of the original's pose_temp.npy, which does not say."""


class HeadMotion(Protocol):
    """Decides how the head moves.

    (audio (1, n) at 16 kHz, frames, fps, generator) -> head pose (frames, 6), degrees and cm from the portrait's.
    """

    def __call__(self, audio: Tensor, frames: int, fps: float, generator: Generator) -> np.ndarray: ...


class OwnRateMotion(Protocol):
    """Head motion at a network's own frame rate: (audio (1, n), frames, generator) -> head pose (frames, 6)."""

    def __call__(self, audio: Tensor, frames: int, generator: Generator) -> np.ndarray: ...


@dataclass(frozen=True)
class NetworkMotion:
    """What a network says at its own frame rate, the only one whose movements it knows, interpolated on SO(3).

    Args:
        motion: PredictedMotion or PublishedMotion.
        fps: frames per second its network was trained at.
    """

    motion: OwnRateMotion
    fps: float

    def __call__(self, audio: Tensor, frames: int, fps: float, generator: Generator) -> np.ndarray:
        if fps == self.fps:
            return self.motion(audio, frames, generator)
        head_pose = self.motion(audio, frame_count(audio.shape[-1], self.fps), generator)
        return resampled_head_pose(head_pose, np.arange(frames) * self.fps / fps)


class PredictedMotion:
    """Head motion that audio2pose hears in the voice, smoothed on SO(3).

    Args:
        audio2pose: the network, in eval mode.
        style: which training identity's motion; None for their mean.
        smoothing: odd number of frames averaged.
    """

    def __init__(self, audio2pose: Any, style: int | None = None, smoothing: int = 5):
        check_style(style, audio2pose.identity)
        self.audio2pose, self.style, self.smoothing = audio2pose, style, smoothing

    def __call__(self, audio: Tensor, frames: int, generator: Generator) -> np.ndarray:
        style = None if self.style is None else torch.tensor([self.style], device=audio.device)
        head_pose = self.audio2pose.sample(audio, frames, style, generator)[0].cpu().numpy()
        return smooth_head_pose(head_pose, self.smoothing)


class StillHead:
    """The head stays as the portrait holds it."""

    def __call__(self, audio: Tensor, frames: int, fps: float, generator: Generator) -> np.ndarray:
        return np.zeros((frames, 6))


@dataclass(frozen=True)
class PoseTemplate:
    """A head motion taken from a film, played forwards and backwards for as long as the voice lasts.

    Args:
        head_pose: (f, 6) degrees and cm, relative to the film's first frame.
        fps: frames per second.
    """

    head_pose: np.ndarray
    fps: float

    def __call__(self, audio: Tensor, frames: int, fps: float, generator: Generator) -> np.ndarray:
        last = len(self.head_pose) - 1
        places = np.arange(frames) * self.fps / fps
        if last > 0:
            places = last - np.abs(np.mod(places, 2 * last) - last)
        return resampled_head_pose(self.head_pose, places)

    @staticmethod
    def of_track(track: FaceTrack, fps: float, smoothing: int = 5) -> "PoseTemplate":
        """The motion of a filmed head against its first frame; the original's `generate_ref_pose`."""
        motion = relative_head_pose(track.pose_matrix, track.pose_matrix[0])
        return PoseTemplate(smooth_head_pose(motion, smoothing), fps)

    @staticmethod
    def load(path: str | Path) -> "PoseTemplate":
        """A template from `save`, or the original's .npy of (f, 6) at 30 fps; nothing in it is unpickled."""
        path = Path(path)
        try:
            stored = np.load(path, allow_pickle=False)
            if isinstance(stored, np.ndarray):
                head_pose, fps = stored, PUBLISHED_TEMPLATE_FPS
            else:
                head_pose, fps = stored["head_pose"], float(stored["fps"])
            head_pose = head_pose.astype(np.float64)
        except (OSError, ValueError, TypeError, KeyError, EOFError, BadZipFile) as error:
            raise ValueError(f"head pose template {path} cannot be read ({error})") from error
        if head_pose.ndim != 2 or head_pose.shape[1] != 6 or not len(head_pose):
            raise ValueError(f"head pose template {path} holds {head_pose.shape}, which must be (frames, 6)")
        if not np.isfinite(head_pose).all() or not 0 < fps < math.inf:
            raise ValueError(f"head pose template {path} must hold finite numbers and fps ({fps}) above 0")
        return PoseTemplate(head_pose, fps)

    def save(self, path: str | Path) -> None:
        """Write an .npz; whole or not at all."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part.npz")
        try:
            np.savez(part, head_pose=self.head_pose, fps=self.fps)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def frame_count(samples: int, fps: float) -> int:
    """Video frames that a sound of `samples` at 16 kHz spans, at least 1."""
    return max(1, round(samples / SAMPLE_RATE * fps))
