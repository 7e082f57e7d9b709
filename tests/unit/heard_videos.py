"""Videos of random pixels with noise for sound, for the tests of lips and sound."""

import numpy as np
import torch

from aniportrait.evaluation.video_pair import ScoredVideo, VideoPair
from aniportrait.face.track import FaceTrack


def track_of(frames, corners=(0.25, 0.25, 0.75, 0.75), valid=None, vertices=None):
    """Faces whose landmarks fill a box of the picture."""
    generator = np.random.default_rng(0)
    landmarks = np.zeros((frames, 478, 3), np.float32)
    landmarks[..., 0] = corners[0] + (corners[2] - corners[0]) * np.linspace(0, 1, 478)
    landmarks[..., 1] = corners[1] + (corners[3] - corners[1]) * np.linspace(0, 1, 478)
    if vertices is None:
        vertices = np.tile(generator.normal(size=(468, 3)).astype(np.float32), (frames, 1, 1))
    eye = np.tile(np.eye(4, dtype=np.float32), (frames, 1, 1))
    valid = np.ones(frames, bool) if valid is None else np.asarray(valid)
    return FaceTrack(landmarks, vertices, eye, np.zeros((frames, 52), np.float32), valid)


def video(frames, size=16, sound=True, fps=25.0, **face):
    generator = torch.Generator().manual_seed(frames)
    pixels = torch.randint(0, 256, (frames, 3, size, size), generator=generator, dtype=torch.uint8)
    audio = (
        np.random.default_rng(frames).normal(scale=0.1, size=round(frames / fps * 16_000)).astype(np.float32)
    )
    return ScoredVideo(pixels, track_of(frames, **face), audio if sound else None, fps)


def pair(*given, **face):
    return VideoPair("clip", video(*given, **face))
