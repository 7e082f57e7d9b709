"""The face of a person at rest, taken from the frames of a clip in which the mouth does least."""

import numpy as np

from aniportrait.face.topology import BLENDSHAPES
from aniportrait.face.track import FaceTrack

MOUTH = np.array([index for index, name in enumerate(BLENDSHAPES) if name.startswith(("jaw", "mouth"))])
QUIETEST = 0.1
"""Share of the valid frames that are averaged: one frame alone would carry its own noise."""


def mouth_activity(blendshapes: np.ndarray) -> np.ndarray:
    """(f, 52) coefficients -> (f,) sum over jaw and mouth: 0 is a closed, relaxed mouth."""
    return blendshapes[:, MOUTH].sum(axis=1)


def neutral_mesh(track: FaceTrack) -> np.ndarray:
    """The (468, 3) metric mesh at rest, cm: the mean of the valid frames with the least mouth activity."""
    valid = np.flatnonzero(track.valid)
    if not len(valid):
        raise ValueError(f"a track of {len(track)} frames without a valid one has no neutral mesh")
    activity = mouth_activity(track.blendshapes[valid])
    quiet = valid[np.argsort(activity, kind="stable")[: max(1, round(QUIETEST * len(valid)))]]
    return track.vertices[quiet].mean(axis=0, dtype=np.float64).astype(np.float32)
