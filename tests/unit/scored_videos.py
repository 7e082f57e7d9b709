"""Videos made of numbers: what is not said is at rest."""

import numpy as np
import torch

from aniportrait.evaluation.video_pair import ScoredVideo
from aniportrait.face.topology import LIPS, POINTS, VERTICES
from aniportrait.face.track import FaceTrack

FPS = 25.0


def face(x0=0.25, y0=0.25, x1=0.75, y1=0.75):
    """(478, 2): all points at the centre but two corners of the box, and lips 0.2 wide and 0.1 high below it."""
    points = np.full((POINTS, 2), 0.5)
    points[9], points[8] = (x0, y0), (x1, y1)
    points[LIPS] = (0.5, 0.65)
    points[LIPS[0]], points[LIPS[1]] = (0.4, 0.6), (0.6, 0.7)
    return points


def track(frames, landmarks=None, vertices=None, blendshapes=None, valid=None):
    points = np.zeros((frames, POINTS, 3), np.float32)
    points[..., :2] = face() if landmarks is None else landmarks
    return FaceTrack(
        landmarks=points,
        vertices=np.zeros((frames, VERTICES, 3), np.float32) if vertices is None else vertices,
        pose_matrix=np.tile(np.eye(4, dtype=np.float32), (frames, 1, 1)),
        blendshapes=np.zeros((frames, 52), np.float32) if blendshapes is None else blendshapes,
        valid=np.ones(frames, dtype=bool) if valid is None else np.array(valid),
    )


def video(frames, height=8, width=8, pixels=None, audio=None, **measured):
    if pixels is None:
        pixels = torch.zeros(frames, 3, height, width, dtype=torch.uint8)
    return ScoredVideo(pixels, track(frames, **measured), audio, FPS)


def random_pixels(frames, height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (frames, 3, height, width), generator=generator, dtype=torch.uint8)
