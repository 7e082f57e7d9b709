"""What of a video SyncNet is shown: its face, or the frames as they are. Two protocols, never one name."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from einops import rearrange

from aniportrait.data.schema import SAMPLE_RATE
from aniportrait.evaluation.video_metric import NotScoredError
from aniportrait.evaluation.video_pair import ScoredVideo
from aniportrait.face.syncnet_crop import syncnet_crops, whole_frame

LONGEST_GAP = 25
"""Frames from one seen face to the next within one track."""


@dataclass(frozen=True)
class Shown:
    """What SyncNet sees and hears.

    Args:
        pictures: (224, 224, 3) uint8 RGB each.
        frames: how many they are.
        audio: (n,) waveform at SAMPLE_RATE that begins with the first of them.
    """

    pictures: Iterator[np.ndarray]
    frames: int
    audio: np.ndarray


class View(Protocol):
    """Picks what of a video SyncNet is shown; equal views show the same. `protocol` says in words what that is."""

    protocol: ClassVar[str]

    def show(self, video: ScoredVideo, audio: np.ndarray) -> Shown:
        """Raises NotScoredError where there is nothing to show."""
        ...


@dataclass(frozen=True)
class LandmarkerCrop:
    """The face as SyncNet's own pipeline cuts it out, but found by MediaPipe's landmarker, not by S3FD.

    The box is that of all landmarks, which leaves out more of the forehead than S3FD's: not comparable with published
    figures. Of the tracks, which a second without a face ends, the longest is taken; faces of any size count.

    Args:
        least_frames: that the track must have; 4 s, as published (where it takes one frame more).
    """

    protocol: ClassVar[str] = "whole face, shifted down, boxes of MediaPipe's landmarks in place of S3FD's"
    least_frames: int = 100

    def show(self, video: ScoredVideo, audio: np.ndarray) -> Shown:
        if len(video) < self.least_frames:
            raise NotScoredError(f"{len(video)} frames, {self.least_frames} (4 s) are the least")
        first, last = _longest_track(video.track.valid)
        if last - first < self.least_frames:
            raise NotScoredError(
                f"its face is seen through {last - first} frames, {self.least_frames} (4 s) are the least"
            )
        boxes = _boxes(video, first, last)
        pictures = syncnet_crops(_frames(video, first, last), boxes)
        begin, end = (round(frame / video.fps * SAMPLE_RATE) for frame in (first, last))
        return Shown(pictures, last - first, audio[begin:end])


@dataclass(frozen=True)
class WholeFrame:
    """Each frame squeezed to 224 x 224, no face looked for: Wav2Lip's `calculate_scores_LRS.py`, for cut out faces."""

    protocol: ClassVar[str] = "whole frames at 224 x 224, no face detection (Wav2Lip's calculate_scores_LRS)"

    def show(self, video: ScoredVideo, audio: np.ndarray) -> Shown:
        return Shown(map(whole_frame, _frames(video, 0, len(video))), len(video), audio)


def _frames(video: ScoredVideo, first: int, last: int) -> Iterator[np.ndarray]:
    return (rearrange(frame.numpy(), "c h w -> h w c") for frame in video.frames[first:last].cpu())


def _longest_track(valid: np.ndarray) -> tuple[int, int]:
    """First frame, and the one after the last, of the longest stretch that no gap over LONGEST_GAP interrupts."""
    seen = np.flatnonzero(valid)
    if not len(seen):
        raise NotScoredError("no face is seen in it")
    tracks = np.split(seen, np.flatnonzero(np.diff(seen) > LONGEST_GAP) + 1)
    longest = max(tracks, key=lambda track: track[-1] - track[0])
    return int(longest[0]), int(longest[-1]) + 1


def _boxes(video: ScoredVideo, first: int, last: int) -> np.ndarray:
    """(last - first, 4) x0, y0, x1, y1 in pixels; between seen faces on a straight line."""
    height, width = video.frames.shape[-2:]
    points = video.track.landmarks[..., :2] * (width, height)
    corners = np.concatenate((points.min(axis=1), points.max(axis=1)), axis=1)
    seen = np.flatnonzero(video.track.valid)
    steps = np.arange(first, last)
    return np.stack([np.interp(steps, seen, corners[seen, k]) for k in range(4)], axis=1)
