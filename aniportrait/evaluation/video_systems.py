"""The rows of a table of videos: the generated, the real or driving one, copying the portrait, distorted real ones."""

from collections.abc import Callable, Iterator
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

GENERATED, REAL, DRIVING, COPY = "generated", "real video", "driving video", "copying the portrait"

ANOTHER = "another clip"
DISTORTIONS: dict[str, Callable[[ScoredVideo, ScoredVideo, Detect], ScoredVideo]] = {
    "blurred by 2 pixels": lambda real, other, detect: blurred(real, detect, sigma=2.0),
    "noise of 5 %": lambda real, other, detect: noisy(real, detect, 0.05, torch.Generator().manual_seed(0)),
    "frozen mouth": lambda real, other, detect: with_frozen_mouth(
        real, detect, int(real.track.valid.argmax())
    ),
    "sound 200 ms late": lambda real, other, detect: with_delayed_sound(real, 0.2),
    ANOTHER: lambda real, other, detect: of_another_person(real, other),
}
"""What is done to real videos to see which metrics notice."""


def systems_of(pair: VideoPair, detect: Detect) -> dict[str, VideoPair]:
    """System -> what is scored of it.

    Real and driving videos are held against nothing but the portrait. The copy shows the portrait, or where none is
    given the real video's first frame, in every frame.
    """
    systems = {GENERATED: pair}
    if pair.real is not None:
        systems[REAL] = replace(pair, generated=pair.real, real=None)
    if pair.driving is not None:
        systems[DRIVING] = replace(pair, generated=pair.driving, real=None)
    if pair.reference is not None:
        systems[COPY] = replace(
            pair, generated=_standing(pair.reference, pair.real or pair.generated, detect)
        )
    elif pair.real is not None:
        systems[COPY] = replace(pair, generated=_standing(pair.real.frames[0], pair.real, detect))
    return systems


def distorted_systems(
    pair: VideoPair, other: ScoredVideo | None, detect: Detect
) -> Iterator[tuple[str, VideoPair]]:
    """Each distortion and the real video under it, held against the real video as it is.

    What a clip cannot suffer (its sound cannot be late if it has none, a shorter clip cannot replace it) is left out.

    Args:
        other: another clip's real video, for the distortion that puts it in this one's place.
    """
    if pair.real is None:
        return
    for name, distort in DISTORTIONS.items():
        if other is None and name == ANOTHER:
            continue
        try:
            distorted = distort(pair.real, other or pair.real, detect)
        except ValueError:
            continue
        yield name, replace(pair, generated=distorted)


def _standing(still: Tensor, moving: ScoredVideo, detect: Detect) -> ScoredVideo:
    """One picture for as long as a video, with its sound."""
    frames = still[None].expand(len(moving), -1, -1, -1)
    face = detect(still[None])
    track = FaceTrack(
        *(
            np.repeat(values, len(moving), axis=0)
            for values in (face.landmarks, face.vertices, face.pose_matrix, face.blendshapes, face.valid)
        )
    )
    return ScoredVideo(frames, track, moving.audio, moving.fps)
