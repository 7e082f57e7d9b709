"""A generated video and what it is held against."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from aniportrait.face.track import FaceTrack


@dataclass(frozen=True)
class ScoredVideo:
    """A video as metrics see it.

    Args:
        frames: (f, 3, h, w) uint8 RGB.
        track: its face, detected on these frames; `valid` is False where there is none.
        audio: (n,) waveform at SAMPLE_RATE that begins with the first frame; None where there is no sound.
        fps: frames per second.
    """

    frames: Tensor
    track: FaceTrack
    audio: np.ndarray | None
    fps: float

    def __post_init__(self) -> None:
        if len(self.frames) != len(self.track):
            raise ValueError(
                f"{len(self.frames)} frames and the faces of {len(self.track)} are not of one video"
            )

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True)
class VideoPair:
    """What one clip's scores are taken from.

    Args:
        key: the clip's name.
        generated: the video to be judged.
        real: the true video: frame k belongs to frame k, of the same length, size and rate; None where there is none.
        driving: a real video that moved the portrait or spoke, where it is not the truth: another person's. None where
            there is none.
        reference: (3, h, w) uint8 RGB, the portrait that the video was made from; None where it is not known.
        reference_track: its face, a track of one frame; None where it was not looked for.
    """

    key: str
    generated: ScoredVideo
    real: ScoredVideo | None = None
    reference: Tensor | None = None
    reference_track: FaceTrack | None = None
    driving: ScoredVideo | None = None

    def __post_init__(self) -> None:
        if self.reference_track is not None and len(self.reference_track) != 1:
            raise ValueError(
                f"{self.key}: the reference is one picture, its track has {len(self.reference_track)} frames"
            )
        if self.real is None:
            return
        ours, theirs = (tuple(video.frames.shape) for video in (self.generated, self.real))
        if ours != theirs or self.generated.fps != self.real.fps:
            raise ValueError(
                f"{self.key}: generated frames {ours} at {self.generated.fps:g} fps and real ones {theirs} at "
                f"{self.real.fps:g} fps must agree"
            )
