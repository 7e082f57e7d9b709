"""A portrait and a voice -> frames of that person speaking."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Generator, nn

from aniportrait.face.canonical import CanonicalFace
from aniportrait.face.head_pose import pose_matrices, project
from aniportrait.pipelines.head_motion import HeadMotion, frame_count
from aniportrait.pipelines.picture import Picture
from aniportrait.pipelines.portrait import PortraitPipeline, SamplingSettings
from aniportrait.pipelines.resting_face import resting_mesh
from aniportrait.pipelines.speech_offsets import SpeechOffsets

PORTION = 1024
"""Frames whose meshes are in memory at a time."""


class AudioDriven:
    """Speech -> meshes and head poses -> landmarks -> frames.

    Args:
        audio2mesh: the network, in eval mode.
        mesh_fps: frames per second it was trained at.
        head_motion: how the head moves.
        portrait: the frame sampler.
        fps: frames per second of the result.
        face: the canonical face.
    """

    def __init__(
        self,
        audio2mesh: nn.Module,
        mesh_fps: float,
        head_motion: HeadMotion,
        portrait: PortraitPipeline,
        fps: float,
        face: CanonicalFace,
    ):
        self.audio2mesh, self.mesh_fps = audio2mesh, mesh_fps
        self.head_motion, self.portrait = head_motion, portrait
        self.fps, self.face = fps, face

    def landmarks(self, picture: Picture, audio: np.ndarray, seed: int) -> np.ndarray:
        """(f, 468, 2) landmarks in [0, 1] of the portrait speaking; f is the sound's length at `fps`, at least 1.

        What the portrait's mouth is doing is taken out first: offsets are from a face at rest.

        Args: audio (n,) in [-1, 1] at 16 kHz; seed of the head motion.
        """
        frames = frame_count(len(audio), self.fps)
        device = self.portrait.device
        sound = torch.from_numpy(np.asarray(audio, np.float32))[None].to(device)
        offsets = SpeechOffsets(self.audio2mesh, self.mesh_fps, sound, self.fps)
        head_pose = self.head_motion(sound, frames, self.fps, Generator(device).manual_seed(seed))
        matrices = pose_matrices(head_pose, picture.track.pose_matrix[0])
        rest = resting_mesh(picture.track.vertices[0], picture.track.blendshapes[0], self.face)
        points = np.empty((frames, len(rest), 2), np.float32)
        for begin in range(0, frames, PORTION):
            end = min(begin + PORTION, frames)
            points[begin:end] = project(rest + offsets(begin, end), matrices[begin:end], 1, 1)
        return points

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
