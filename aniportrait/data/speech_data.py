"""Data for audio2mesh and audio2pose."""

from collections.abc import Mapping, Sequence
from typing import Any

from aniportrait.data.datamodule import GIB, DataSetBuilder, ShardData
from aniportrait.data.shards import ShardEntry
from aniportrait.data.speech_windows import SpeechWindows
from aniportrait.data.transport import Location


class SpeechData(ShardData):
    """Batches of SpeechBatch: windows of speech with the meshes and head poses that go with it.

    Clips without sound are left out, and said to be.

    Args:
        folder, batch_size, num_workers, seed, build, max_bad: see ShardData.
        window_frames: frames of a window; shorter clips are padded and the padding marked as not valid.
        cache_bytes: how much decoded sound and mesh each process keeps in memory.
        flip_chance: how often a training window shows the face in the mirror.
        start_step: training windows begin at multiples of it, frames.
    """

    def __init__(
        self,
        folder: Location | Sequence[Mapping[str, Any]],
        batch_size: int = 8,
        num_workers: int = 0,
        seed: int = 0,
        window_frames: int = 64,
        build: DataSetBuilder | None = None,
        max_bad: int = 10,
        cache_bytes: int = 2 * GIB,
        flip_chance: float = 0.0,
        start_step: int = 1,
    ):
        super().__init__(folder, batch_size, num_workers, seed, build, max_bad)
        if window_frames < 1 or start_step < 1:
            raise ValueError(
                f"window_frames ({window_frames}) and start_step ({start_step}) must be at least 1"
            )
        if not 0 <= flip_chance <= 1:
            raise ValueError(f"flip_chance ({flip_chance}) must be from 0 to 1")
        self.window_frames, self.start_step = window_frames, start_step
        self.cache_bytes, self.flip_chance = cache_bytes, flip_chance

    def _windows(self) -> SpeechWindows:
        return SpeechWindows(
            self.fps, self.window_frames, self.identities, self.cache_bytes, self.flip_chance, self.start_step
        )

    def _suits(self, entry: ShardEntry) -> bool:
        return entry.has_audio

    def _unsuited(self) -> str:
        return "have no sound and are left out"
