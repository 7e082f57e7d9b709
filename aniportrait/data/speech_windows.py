"""Clips -> windows of speech with the meshes and head poses that go with it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from aniportrait.data.clip_cache import ClipCache, check_lengths
from aniportrait.data.sample_codec import EXPECTED, NEUTRAL, decode_arrays
from aniportrait.data.schema import ARRAYS, AUDIO, SpeechBatch
from aniportrait.data.shards import ShardEntry, read_member
from aniportrait.data.sound import decode_flac
from aniportrait.data.transforms import audio_window, padded
from aniportrait.face.head_pose import relative_head_pose
from aniportrait.face.mirror import mirrored_pose_matrix, mirrored_vertices


class SpeechItem(NamedTuple):
    """One window of SpeechBatch, without the batch axis; `counted` is False where it only fills a batch up."""

    audio: np.ndarray
    vertices: np.ndarray
    expected_vertices: np.ndarray
    neutral_vertices: np.ndarray
    head_pose: np.ndarray
    valid: np.ndarray
    identity: int
    key: str
    counted: bool = True


class SpeechWindows:
    """Windows of clips. A clip shorter than the window is continued with its last frame, silent and not valid.

    Args:
        fps: of the clips.
        window_frames: frames of a window.
        identities: training identities; an item's `identity` is an index into them.
        cache_bytes: how much of what was read is kept in memory, in each process.
        flip_chance: how often a random window shows the face in the mirror.
        start_step: random windows begin at multiples of it, frames: an encoder that keeps what it has encoded
            meets the same sounds again.
    """

    def __init__(
        self,
        fps: float,
        window_frames: int,
        identities: Sequence[str],
        cache_bytes: int,
        flip_chance: float = 0.0,
        start_step: int = 1,
    ):
        self.fps, self.window_frames, self.flip_chance = fps, window_frames, flip_chance
        self.start_step = start_step
        self._numbers = {identity: number for number, identity in enumerate(identities)}
        self._cache = ClipCache(cache_bytes)

    def random(self, entry: ShardEntry, generator: np.random.Generator) -> SpeechItem:
        """A window from anywhere in the clip."""
        latest = max(0, entry.frames - self.window_frames) // self.start_step
        start = self.start_step * int(generator.integers(latest + 1))
        flip = self.flip_chance > 0 and bool(generator.random() < self.flip_chance)
        return self._item(entry, start, flip)

    def fixed(self, entry: ShardEntry, number: int) -> SpeechItem:
        """Window `number` of those that, one after the other, cover the clip."""
        return self._item(entry, number * self.window_frames)

    def count(self, entry: ShardEntry) -> int:
        """How many fixed windows the clip has."""
        return -(-entry.frames // self.window_frames)

    @staticmethod
    def collate(items: Sequence[SpeechItem]) -> SpeechBatch:
        columns = [torch.from_numpy(np.stack([item[column] for item in items])) for column in range(6)]
        columns[5] &= torch.tensor([item.counted for item in items])[:, None]
        identity = torch.tensor([item.identity for item in items])
        return SpeechBatch(*columns, identity=identity, keys=[item.key for item in items])

    def _item(self, entry: ShardEntry, start: int, flip: bool = False) -> SpeechItem:
        clip = self._cache.clip(entry, self._read)
        count = self.window_frames
        valid = padded(clip["valid"], start, count)
        valid[len(clip["valid"]) - start :] = False
        pose_matrix = padded(clip["pose_matrix"], start, count)
        meshes = (
            padded(clip["vertices"], start, count),
            padded(clip.get(EXPECTED, clip["vertices"]), start, count),
            clip[NEUTRAL],
        )
        if flip:
            pose_matrix = mirrored_pose_matrix(pose_matrix)
            meshes = tuple(mirrored_vertices(mesh) for mesh in meshes)
        return SpeechItem(
            audio_window(clip[AUDIO], start, count, self.fps).astype(np.float32),
            *meshes,
            head_pose=relative_head_pose(pose_matrix, pose_matrix[0]).astype(np.float32),
            valid=valid,
            identity=self._numbers.get(entry.identity, 0),
            key=entry.key,
        )

    def _read(self, entry: ShardEntry) -> dict[str, Any]:
        names = ("vertices", "pose_matrix", "valid", NEUTRAL, EXPECTED)
        clip = decode_arrays(read_member(entry.folder, entry, ARRAYS), names)
        check_lengths(entry, clip, ("vertices", "pose_matrix", "valid"))
        return clip | {AUDIO: decode_flac(read_member(entry.folder, entry, AUDIO))}
