"""The rows of a table of videos: the generated one, the real one, copying the portrait, distorted real ones."""

import contextlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from aniportrait.evaluation.distortions import (
    Detect,
    blurred,
    noisy,
    of_another_person,
    with_delayed_sound,
    with_frozen_mouth,
)
from aniportrait.evaluation.video_pair import ScoredVideo, VideoPair
from aniportrait.face.track import FaceTrack

GENERATED, REAL, COPY = "generated", "real video", "copying the portrait"

DISTORTIONS: dict[str, Callable[[ScoredVideo, ScoredVideo, Detect], ScoredVideo]] = {
    "blurred by 2 pixels": lambda real, other, detect: blurred(real, detect, sigma=2.0),
    "noise of 5 %": lambda real, other, detect: noisy(real, detect, 0.05, torch.Generator().manual_seed(0)),
    "frozen mouth": lambda real, other, detect: with_frozen_mouth(
        real, detect, int(real.track.valid.argmax())
    ),
    "sound 200 ms late": lambda real, other, detect: with_delayed_sound(real, 0.2),
    "another person": lambda real, other, detect: of_another_person(real, other),
}
"""What is done to real videos to see which metrics notice."""


def systems_of(pair: VideoPair, detect: Detect) -> dict[str, VideoPair]:
    """System -> what is scored of it.

    The real video is held against nothing but the portrait. The copy shows the portrait, or where none is given the
    real video's first frame, in every frame.
    """
    systems = {GENERATED: pair}
    if pair.real is not None:
        systems[REAL] = replace(pair, generated=pair.real, real=None)
        still = pair.real.frames[0] if pair.reference is None else pair.reference
        systems[COPY] = replace(pair, generated=_standing(still, pair.real, detect))
    return systems


def distorted_systems(pair: VideoPair, other: VideoPair, detect: Detect) -> dict[str, VideoPair]:
    """Distortion -> the real video under it, held against the real video as it is.

    What a clip cannot suffer (its sound cannot be late if it has none, a shorter clip cannot replace it) is left out.

    Args:
        other: another clip, for the distortion that changes the person.
    """
    if pair.real is None or other.real is None:
        return {}
    distorted = {}
    for name, distort in DISTORTIONS.items():
        with contextlib.suppress(ValueError):
            distorted[name] = replace(pair, generated=distort(pair.real, other.real, detect))
    return distorted


def _standing(still: Tensor, real: ScoredVideo, detect: Detect) -> ScoredVideo:
    """One picture for as long as the real video, with its sound."""
    frames = still[None].expand(len(real), -1, -1, -1)
    face = detect(still[None])
    track = FaceTrack(
        *(
            np.repeat(values, len(real), axis=0)
            for values in (face.landmarks, face.vertices, face.pose_matrix, face.blendshapes, face.valid)
        )
    )
    return ScoredVideo(frames, track, real.audio, real.fps)
