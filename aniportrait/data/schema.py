"""Names and shapes of everything a shard stores and a loader yields: the only place with key strings."""

import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch import Tensor

from aniportrait.face.track import FaceTrack

SAMPLE_RATE = 16_000
"""Hz of every waveform inside the project."""

VIDEO = "mp4"
AUDIO = "flac"
ARRAYS = "npz"
META = "json"
LATENTS = "latents"
EMBEDS = "image_embeds"

PIECE = "--"
"""Stands between a clip's key and the number of a piece, where a clip gave several; in no clip's own key."""


def key_of_title(title: str) -> str:
    """The key under which a clip of this title is stored, if no other clip claims it too."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", title)[:60].strip("-") or "clip"


@dataclass(frozen=True)
class ClipMeta:
    """What a shard's json says of one clip.

    Args:
        key: unique within a data set, no dots.
        identity: the person; splits never share one.
        split: "train", "val" or "test".
        source: the file or id of the recording the clip came from.
        fps: frames per second of the stored video.
        frames: number of stored frames.
        width, height: of the stored video, pixels.
        has_audio: whether a flac is stored.
        crop: x0, y0, x1, y1 of the square in the source's pixels.
        begin: where in the source's file the clip begins, seconds.
    """

    key: str
    identity: str
    split: str
    source: str
    fps: float
    frames: int
    width: int
    height: int
    has_audio: bool
    crop: tuple[float, float, float, float]
    begin: float = 0.0


@dataclass(frozen=True)
class ClipSample:
    """One clip as a shard stores it.

    Args:
        meta: see ClipMeta.
        video: bytes of an mp4 (H.264, short GOP).
        audio: (n,) float32 waveform at SAMPLE_RATE in [-1, 1], as long as the video within one frame; None
            without sound.
        track: the face in every frame; gaps are interpolated and marked in `track.valid`.
        neutral_vertices: (468, 3) metric mesh of this person at rest, cm.
        expected_vertices: (f, 468, 3) meshes before the generator's own noise (embedded data set only): what
            a perfect predictor would say, hence the noise floor. None for filmed clips.
    """

    meta: ClipMeta
    video: bytes
    audio: np.ndarray | None
    track: FaceTrack
    neutral_vertices: np.ndarray
    expected_vertices: np.ndarray | None = None


class SpeechBatch(NamedTuple):
    """Speech with the faces that spoke it; windows of equal length.

    Shapes: audio (b, n); vertices (b, f, 468, 3) cm; expected_vertices as vertices (equal to them for filmed
    clips); neutral_vertices (b, 468, 3); head_pose (b, f, 6) degrees and cm relative to the window's first
    frame; valid (b, f) bool; identity (b,) index into the training identities, 0 for unseen ones; keys: clip
    keys.
    """

    audio: Tensor
    vertices: Tensor
    expected_vertices: Tensor
    neutral_vertices: Tensor
    head_pose: Tensor
    valid: Tensor
    identity: Tensor
    keys: list[str]


class PortraitBatch(NamedTuple):
    """Frames to be denoised, with their drawn landmarks and a portrait of the same person.

    Pixels leave the loader as uint8 and reach the training as float in [-1, 1]: PortraitData turns them on the
    device.

    Shapes: frames (b, f, 3, h, w); pose_image as frames; reference_image (b, 3, h, w); reference_pose_image as
    reference_image; face_box (b, f, 4) x0, y0, x1, y1 in [0, 1] around the 478 landmarks, mouth_box around the lips;
    keys: clip keys; counted (b,) bool, False for items that only fill a batch up. Where they were precomputed,
    float16: latents (b, f, c, h/8, w/8), reference_latents (b, c, h/8, w/8), image_embeds (b, 1, d); the frames and
    portraits of training batches then have no pixels (h = w = 0).
    """

    frames: Tensor
    pose_image: Tensor
    reference_image: Tensor
    reference_pose_image: Tensor
    face_box: Tensor
    mouth_box: Tensor
    keys: list[str]
    counted: Tensor
    latents: Tensor | None = None
    reference_latents: Tensor | None = None
    image_embeds: Tensor | None = None

    def only_counted(self) -> "PortraitBatch":
        """Without the items that only fill it up."""
        if bool(self.counted.all()):
            return self
        keys = [key for key, counted in zip(self.keys, self.counted.tolist(), strict=True) if counted]
        kept = {
            name: field[self.counted] for name, field in self._asdict().items() if isinstance(field, Tensor)
        }
        return self._replace(**kept, keys=keys)

    def first(self, count: int) -> "PortraitBatch":
        """The first `count` items."""
        return self._make(None if field is None else field[:count] for field in self)
