"""Pairs of videos, and faces in them, for tests of scores of videos."""

import numpy as np
import torch

from aniportrait.evaluation.video_pair import ScoredVideo, VideoPair
from aniportrait.face.topology import LIPS, POINTS
from aniportrait.face.track import FaceTrack


def track(landmarks, valid=True):
    """Landmarks (478, 2) of every frame or (f, 478, 2), valid a bool or (f,) -> FaceTrack; all else is zero."""
    valid = np.atleast_1d(np.array(valid))
    frames = len(valid)
    points = np.zeros((frames, POINTS, 3), np.float32)
    points[..., :2] = landmarks
    eye = np.tile(np.eye(4, dtype=np.float32), (frames, 1, 1))
    return FaceTrack(
        points, np.zeros((frames, 468, 3), np.float32), eye, np.zeros((frames, 52), np.float32), valid
    )


def face():
    """(478, 2): a box from 0.25 to 0.75, lips from (0.4, 0.6) to (0.6, 0.7)."""
    points = np.full((POINTS, 2), 0.5)
    points[9], points[8] = 0.25, 0.75
    points[LIPS] = (0.5, 0.65)
    points[LIPS[0]], points[LIPS[1]] = (0.4, 0.6), (0.6, 0.7)
    return points


def noise(frames=5, size=16, seed=0):
    """(f, 3, size, size) uint8"""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(30, 200, (frames, 3, size, size), generator=generator, dtype=torch.uint8)


def pair(generated, real, real_track=None, **kwargs):
    """Frames (f, 3, h, w) uint8 -> a VideoPair whose faces are `face()` unless said otherwise."""
    seen = track(face(), [True] * len(generated))
    truth = None if real is None else ScoredVideo(real, real_track or seen, None, 25.0)
    return VideoPair("clip", ScoredVideo(generated, kwargs.pop("track", seen), None, 25.0), truth, **kwargs)
