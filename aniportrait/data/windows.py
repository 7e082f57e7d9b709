"""Clips of a shard -> training items and batches: windows of speech, and frames with their landmarks
drawn."""

import logging
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from aniportrait.data.clip_codec import decode_frames
from aniportrait.data.schema import ARRAYS, AUDIO, VIDEO, PortraitBatch, SpeechBatch
from aniportrait.data.shards import EXPECTED, NEUTRAL, ShardEntry, ShardError, decode_arrays, read_member
from aniportrait.data.sound import decode_flac
from aniportrait.data.transforms import (
    audio_window,
    face_box,
    fixed_reference,
    middle_window,
    padded,
    random_reference,
    random_window,
    recoloured,
    resized,
    to_signed_unit,
)
from aniportrait.face.draw import draw_pose_image
from aniportrait.face.head_pose import relative_head_pose

log = logging.getLogger(__name__)

UNREADABLE = (ShardError, ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error)
"""What a damaged sample raises on its way from bytes to arrays."""


class ClipCache:
    """Keeps what was read of the clips used last, up to a number of bytes.

    Args:
        size: bytes; 0 keeps nothing.
    """

    def __init__(self, size: int):
        self.size = size
        self._held = 0
        self._clips: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def clip(self, key: str, read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        if key in self._clips:
            self._clips.move_to_end(key)
            return self._clips[key]
        clip = read()
        self._clips[key] = clip
        self._held += _size(clip)
        while self._held > self.size and self._clips:
            self._held -= _size(self._clips.popitem(last=False)[1])
        return clip


class SpeechItem(NamedTuple):
    """One window of SpeechBatch, without the batch axis."""

    audio: np.ndarray
    vertices: np.ndarray
    expected_vertices: np.ndarray
    neutral_vertices: np.ndarray
    head_pose: np.ndarray
    valid: np.ndarray
    identity: int
    key: str


class SpeechWindows:
    """Windows of speech with the meshes and head poses that go with it.

    A clip shorter than the window is continued with its last frame, silent and not valid.

    Args:
        folder: of the shards.
        fps: of the clips.
        window_frames: frames of a window.
        identities: training identities; an item's `identity` is an index into them.
        cache_bytes: how much of what was read is kept in memory, in each process.
        start_step: random windows begin at multiples of it, frames: an encoder that keeps what it has encoded
            meets the same sounds again.
    """

    def __init__(
        self,
        folder: Path,
        fps: float,
        window_frames: int,
        identities: Sequence[str],
        cache_bytes: int,
        start_step: int = 1,
    ):
        self.folder, self.fps, self.window_frames, self.start_step = folder, fps, window_frames, start_step
        self._numbers = {identity: number for number, identity in enumerate(identities)}
        self._cache = ClipCache(cache_bytes)

    def random(self, entry: ShardEntry, generator: np.random.Generator) -> SpeechItem:
        """A window from anywhere in the clip."""
        latest = max(0, entry.frames - self.window_frames) // self.start_step
        return self._item(entry, self.start_step * int(generator.integers(latest + 1)))

    def fixed(self, entry: ShardEntry, number: int) -> SpeechItem:
        """Window `number` of those that, one after the other, cover the clip."""
        return self._item(entry, number * self.window_frames)

    def count(self, entry: ShardEntry) -> int:
        """How many fixed windows the clip has."""
        return -(-entry.frames // self.window_frames)

    @staticmethod
    def collate(items: Sequence[SpeechItem]) -> SpeechBatch:
        columns = [np.stack([item[column] for item in items]) for column in range(6)]
        identity = torch.tensor([item.identity for item in items])
        keys = [item.key for item in items]
        return SpeechBatch(*(torch.from_numpy(column) for column in columns), identity=identity, keys=keys)

    def _item(self, entry: ShardEntry, start: int) -> SpeechItem:
        clip = self._cache.clip(entry.key, lambda: _readable(entry, lambda: self._read(entry)))
        count = self.window_frames
        valid = padded(clip["valid"], start, count)
        valid[len(clip["valid"]) - start :] = False
        pose_matrix = padded(clip["pose_matrix"], start, count)
        return SpeechItem(
            audio=audio_window(clip[AUDIO], start, count, self.fps).astype(np.float32),
            vertices=padded(clip["vertices"], start, count),
            expected_vertices=padded(clip.get(EXPECTED, clip["vertices"]), start, count),
            neutral_vertices=clip[NEUTRAL],
            head_pose=relative_head_pose(pose_matrix, pose_matrix[0]).astype(np.float32),
            valid=valid,
            identity=self._numbers.get(entry.identity, 0),
            key=entry.key,
        )

    def _read(self, entry: ShardEntry) -> dict[str, Any]:
        names = ("vertices", "pose_matrix", "valid", NEUTRAL, EXPECTED)
        clip = decode_arrays(read_member(self.folder, entry, ARRAYS), names)
        _check_lengths(entry, clip, ("vertices", "pose_matrix", "valid"))
        return clip | {AUDIO: decode_flac(read_member(self.folder, entry, AUDIO))}


class PortraitItem(NamedTuple):
    """One window of PortraitBatch, without the batch axis; pixels are still (f, h, w, 3) uint8."""

    frames: np.ndarray
    pose_image: np.ndarray
    reference_image: np.ndarray
    reference_pose_image: np.ndarray
    face_box: np.ndarray
    key: str


class PortraitWindows:
    """Frames of a clip, their landmarks drawn, and another frame of the clip as the portrait.

    Args:
        folder: of the shards.
        image_size: side of the pictures, pixels; stored pictures are resized to it.
        frames: how many frames make an item.
        strides: steps between frames to choose from, with equal chance.
        min_reference_gap: frames that lie at least between the portrait and every frame of the item, where
            the clip is long enough.
        cache_bytes: how much of what was read is kept in memory, in each process.
        keep_decoded: keep clips decoded, resized and drawn rather than compressed: for small pictures, of which a
            whole data set fits.
        colour_change: strength of `recoloured` on random items.
    """

    def __init__(
        self,
        folder: Path,
        image_size: int,
        frames: int,
        strides: Sequence[int],
        min_reference_gap: int,
        cache_bytes: int,
        keep_decoded: bool = False,
        colour_change: float = 0.0,
    ):
        self.folder, self.image_size, self.frames = folder, image_size, frames
        self.strides, self.min_reference_gap = tuple(strides), min_reference_gap
        self.keep_decoded, self.colour_change = keep_decoded, colour_change
        self._cache = ClipCache(cache_bytes)

    def random(self, entry: ShardEntry, generator: np.random.Generator) -> PortraitItem:
        """A window and a portrait from anywhere in the clip."""
        clip = self._clip(entry)
        frames = random_window(clip["valid"], self.frames, self.strides, generator)
        reference = random_reference(clip["valid"], frames, self.min_reference_gap, generator)
        item = self._item(entry, clip, frames, reference)
        pictures = np.concatenate((item.frames, item.reference_image))
        pictures = recoloured(pictures, self.colour_change, generator)
        return item._replace(frames=pictures[:-1], reference_image=pictures[-1:])

    def fixed(self, entry: ShardEntry, number: int = 0) -> PortraitItem:
        """The window in the clip's middle, and the portrait farthest from it."""
        clip = self._clip(entry)
        frames = middle_window(clip["valid"], self.frames)
        return self._item(entry, clip, frames, fixed_reference(clip["valid"], frames))

    def count(self, entry: ShardEntry) -> int:
        """How many fixed windows the clip has."""
        return 1

    @staticmethod
    def collate(items: Sequence[PortraitItem]) -> PortraitBatch:
        def pixels(name: str) -> torch.Tensor:
            return torch.stack([to_signed_unit(getattr(item, name)) for item in items])

        return PortraitBatch(
            frames=pixels("frames"),
            pose_image=pixels("pose_image"),
            reference_image=pixels("reference_image")[:, 0],
            reference_pose_image=pixels("reference_pose_image")[:, 0],
            face_box=torch.from_numpy(np.stack([item.face_box for item in items])),
            keys=[item.key for item in items],
        )

    def _item(
        self, entry: ShardEntry, clip: dict[str, Any], frames: np.ndarray, reference: int
    ) -> PortraitItem:
        wanted = [*frames.tolist(), reference]
        landmarks = clip["landmarks"][wanted]
        if self.keep_decoded:
            pictures, drawn = clip["pictures"][wanted], clip["drawn"][wanted]
        else:
            pictures, drawn = self._pictures(entry, clip[VIDEO], wanted), self._drawn(landmarks)
        return PortraitItem(
            frames=pictures[:-1],
            pose_image=drawn[:-1],
            reference_image=pictures[-1:],
            reference_pose_image=drawn[-1:],
            face_box=face_box(landmarks[:-1]).astype(np.float32),
            key=entry.key,
        )

    def _clip(self, entry: ShardEntry) -> dict[str, Any]:
        return self._cache.clip(entry.key, lambda: _readable(entry, lambda: self._read(entry)))

    def _read(self, entry: ShardEntry) -> dict[str, Any]:
        clip = decode_arrays(read_member(self.folder, entry, ARRAYS), ("landmarks", "valid"))
        _check_lengths(entry, clip, ("landmarks", "valid"))
        video = read_member(self.folder, entry, VIDEO)
        if not self.keep_decoded:
            return clip | {VIDEO: video}
        pictures = self._pictures(entry, video, range(entry.frames))
        return clip | {"pictures": pictures, "drawn": self._drawn(clip["landmarks"])}

    def _pictures(self, entry: ShardEntry, video: bytes, wanted: Sequence[int]) -> np.ndarray:
        return resized(_readable(entry, lambda: decode_frames(video, wanted)), self.image_size)

    def _drawn(self, landmarks: np.ndarray) -> np.ndarray:
        return np.stack([draw_pose_image(points, self.image_size, self.image_size) for points in landmarks])


def _readable(entry: ShardEntry, read: Callable[[], Any]) -> Any:
    """What `read` gives; whatever a damaged sample makes it raise becomes a ShardError that names the
    sample."""
    try:
        return read()
    except UNREADABLE as error:
        reason = str(error) if isinstance(error, ShardError) else f"{type(error).__name__}: {error}"
        raise ShardError(f"sample {entry.key} of {entry.shard} cannot be read ({reason})") from error


def _check_lengths(entry: ShardEntry, clip: dict[str, np.ndarray], names: Sequence[str]) -> None:
    for name in names:
        if len(clip[name]) != entry.frames:
            raise ShardError(f"{name} holds {len(clip[name])} frames, the index says {entry.frames}")


def _size(clip: dict[str, Any]) -> int:
    return sum(value.nbytes if isinstance(value, np.ndarray) else len(value) for value in clip.values())
