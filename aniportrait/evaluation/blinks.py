"""Blinks in the coefficients of detected eyes."""

from dataclasses import dataclass

import numpy as np

from aniportrait.evaluation.video_pair import ScoredVideo
from aniportrait.face.topology import BLENDSHAPES

EYES = [BLENDSHAPES.index("eyeBlinkLeft"), BLENDSHAPES.index("eyeBlinkRight")]


@dataclass(frozen=True)
class BlinkThresholds:
    """Eyes are shut from where their coefficient reaches `shut` until it is below `opened`, so that a coefficient
    that trembles about one threshold is not a row of blinks.

    MediaPipe's eyeBlink: filmed blinks reach 0.45 to 0.7, open eyes stay below 0.2, and between two quick blinks it
    may fall to no less than 0.24.
    """

    shut: float = 0.4
    opened: float = 0.25

    def __post_init__(self) -> None:
        if not 0 < self.opened < self.shut < 1:
            raise ValueError(
                f"opened ({self.opened:g}) must be above 0 and below shut ({self.shut:g}), which is below 1"
            )

    def blinks(self, closure: np.ndarray) -> int:
        """How often eyes of coefficients (f,) are shut that were open before, however long they stay so."""
        shut, blinks = len(closure) > 0 and closure[0] >= self.shut, 0
        for value in closure:
            if shut and value < self.opened:
                shut = False
            elif not shut and value >= self.shut:
                shut = True
                blinks += 1
        return blinks

    def per_minute(self, video: ScoredVideo, valid: np.ndarray) -> float:
        """Blinks of both eyes' mean coefficient per minute of the frames that are valid, (f,) bool."""
        closure = video.track.blendshapes[valid][:, EYES].mean(axis=1)
        return self.blinks(closure) / (len(closure) / video.fps / 60)
