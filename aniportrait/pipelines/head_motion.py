"""How the head moves while it speaks: as predicted, as a template says, or not at all."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Generator, Tensor

from aniportrait.data.schema import SAMPLE_RATE
from aniportrait.face.head_pose import (
    euler_and_translation,
    resampled_head_pose,
    retargeted_head_pose,
    rigid_matrix,
    smooth_head_pose,
)
from aniportrait.models.pose_decoder import check_style
from aniportrait.pipelines.landmark_track import LandmarkTrack, stored_arrays, there_and_back

PUBLISHED_TEMPLATE_FPS = 30.0
"""Of the original's pose_temp.npy, which does not say."""


class HeadMotion(Protocol):
    """Decides how the head moves.

    (audio (1, n) at 16 kHz, frames, fps, generator) -> head pose (frames, 6), degrees and cm from the portrait's.
    A film that is followed may be silent: then there is no audio.
    """

    def __call__(self, audio: Tensor | None, frames: int, fps: float, generator: Generator) -> np.ndarray: ...


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

    def __call__(self, audio: Tensor | None, frames: int, fps: float, generator: Generator) -> np.ndarray:
        if audio is None:
            raise ValueError("a head's motion is predicted from sound, of which there is none")
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

    def __call__(self, audio: Tensor | None, frames: int, fps: float, generator: Generator) -> np.ndarray:
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

    def __call__(self, audio: Tensor | None, frames: int, fps: float, generator: Generator) -> np.ndarray:
        places = there_and_back(frames, self.fps / fps, len(self.head_pose))
        return resampled_head_pose(self.head_pose, places)

    @staticmethod
    def of_film(
        film: LandmarkTrack,
        onto: np.ndarray | None = None,
        turn: Literal["relative", "absolute"] = "relative",
        smoothing: int = 5,
    ) -> "PoseTemplate":
        """The motion of a filmed head against its first frame.

        Args:
            onto: (4, 4) pose matrix of the portrait that will move so, for `retargeted_head_pose`; None for one that
                is held and placed as the filmed head is, as in the original's `generate_ref_pose`.
            turn: "relative" starts as the portrait is turned, "absolute" as the filmed head is.
            smoothing: odd number of frames averaged.
        """
        if turn not in ("relative", "absolute"):
            raise ValueError(f"turn ({turn}) of a head must be relative or absolute")
        filmed = rigid_matrix(smooth_head_pose(euler_and_translation(film.face.pose_matrix), smoothing))
        reference = filmed[0].copy()
        portrait = reference.copy() if onto is None else onto
        if turn == "absolute":
            reference[:3, :3] = rigid_matrix(euler_and_translation(portrait[None]))[0, :3, :3]
        return PoseTemplate(retargeted_head_pose(filmed, reference, portrait), film.fps)

    @staticmethod
    def load(path: str | Path, onto: np.ndarray | None = None) -> "PoseTemplate":
        """The head motion of a landmark track's file, for a portrait held at `onto`; or a ready (f, 6) motion.

        Ready ones are the original's .npy at 30 fps, and .npz of head_pose and fps; nothing in any is unpickled.
        """
        with stored_arrays(path, "head pose template") as stored:
            motion = _ready_motion(stored)
        if motion is None:
            return PoseTemplate.of_film(LandmarkTrack.load(path), onto)
        head_pose, fps = motion
        if head_pose.ndim != 2 or head_pose.shape[1] != 6 or not len(head_pose):
            raise ValueError(f"head pose template {path} holds {head_pose.shape}, which must be (frames, 6)")
        if not np.isfinite(head_pose).all() or not 0 < fps < math.inf:
            raise ValueError(f"head pose template {path} must hold finite numbers and fps ({fps}) above 0")
        return PoseTemplate(head_pose, fps)


def _ready_motion(stored: Any) -> tuple[np.ndarray, float] | None:
    """The array, or what an archive says of head_pose; None if it says nothing."""
    if isinstance(stored, np.ndarray):
        return stored.astype(np.float64), PUBLISHED_TEMPLATE_FPS
    if "head_pose" in stored:
        return stored["head_pose"].astype(np.float64), float(stored["fps"])
    return None


def frame_count(samples: int, fps: float) -> int:
    """Video frames that a sound of `samples` at 16 kHz spans, at least 1."""
    return max(1, round(samples / SAMPLE_RATE * fps))
