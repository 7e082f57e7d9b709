"""LightningDataModules over a folder of shards: speech with meshes, and frames with portraits."""

import logging
import multiprocessing
import warnings
from abc import abstractmethod
from collections.abc import Sequence
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any, Literal, Protocol

from lightning import LightningDataModule
from torch.utils.data import DataLoader

from aniportrait.data.shards import INDEX, ShardEntry, ShardIndex
from aniportrait.data.stream import EvaluationList, TrainingStream, Windows
from aniportrait.data.windows import PortraitWindows, SpeechWindows

log = logging.getLogger(__name__)

# EvaluationList shares its batches out among the workers, so its length is right.
warnings.filterwarnings("ignore", message="Your `IterableDataset` has `__len__` defined")

GIB = 2**30


class DataSetBuilder(Protocol):
    """Something that can write a data set, such as SyntheticTalkers."""

    def write(self, folder: str | Path) -> Any: ...


class ShardData(LightningDataModule):
    """What both kinds of data share: the folder, the splits, the order and where in it the training stands.

    Args:
        folder: shards with their index.
        batch_size: items of a batch, on each rank.
        num_workers: loading processes; 0 loads in the training process.
        seed: of the training order and of every window drawn.
        build: writes the data set if the folder has no index.
        max_bad: unreadable clips, in each process, beyond which training stops.
    """

    def __init__(
        self,
        folder: str | Path,
        batch_size: int,
        num_workers: int,
        seed: int,
        build: DataSetBuilder | None,
        max_bad: int,
    ):
        super().__init__()
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("num_workers", num_workers, 0),
            ("seed", seed, 0),
            ("max_bad", max_bad, 0),
        ):
            if value < least:
                raise ValueError(f"{name} ({value}) must be at least {least}")
        self.folder, self.batch_size, self.num_workers, self.seed = (
            Path(folder),
            batch_size,
            num_workers,
            seed,
        )
        self.build, self.max_bad = build, max_bad
        self._index: ShardIndex | None = None
        self._entries: dict[str, tuple[ShardEntry, ...]] = {}
        self._start = 0  # position of the training order at which this process began
        self._used = 0  # batches this process has trained on since

    @property
    def index(self) -> ShardIndex:
        """What the folder holds."""
        if self._index is None:
            self._index = ShardIndex.load(self.folder)
        return self._index

    @property
    def position(self) -> int:
        """Items of the training order used so far, by all ranks together."""
        return self._start + self._used * self.batch_size * self._world_size

    @property
    def identities(self) -> tuple[str, ...]:
        """Training identities, in the order of their numbers in the batches."""
        return tuple(sorted({entry.identity for entry in self._split("train")}))

    def prepare_data(self) -> None:
        if (self.folder / INDEX).is_file():
            return
        if self.build is None:
            raise FileNotFoundError(
                f"{self.folder} holds no {INDEX}: data.folder must point to shards; write them with: "
                f"python prepare.py source=folder source.path=DIR out={self.folder}"
            )
        log.info("writing the data set into %s", self.folder)
        self.build.write(self.folder)

    def setup(self, stage: str | None = None) -> None:
        if not self._entries:
            self._entries = {split: self._usable(split) for split in ("train", "val", "test")}

    def train_dataloader(self) -> DataLoader:
        """Endless: `max_steps` ends the training."""
        entries = self._split("train")
        self._start, self._used = self.position, 0
        stream = TrainingStream(
            self._windows(),
            entries,
            self.batch_size,
            self.seed,
            self._start,
            self._rank,
            self._world_size,
            self.max_bad,
        )
        return self._loader(stream, persistent=True)

    def val_dataloader(self) -> DataLoader:
        return self.evaluation_dataloader("val")

    def test_dataloader(self) -> DataLoader:
        return self.evaluation_dataloader("test")

    def evaluation_dataloader(self, split: Literal["train", "val", "test"]) -> DataLoader:
        """Every clip of a split, in fixed windows and a fixed order."""
        clips = EvaluationList(
            self._windows(), self._split(split), self.batch_size, self._rank, self._world_size, self.max_bad
        )
        return self._loader(clips, persistent=False)

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Called by Lightning just before a batch is used: what the workers loaded ahead does not count."""
        if self.trainer is not None and self.trainer.training:
            self._used += 1
        return batch

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._start, self._used = int(state_dict["position"]), 0

    @abstractmethod
    def _windows(self) -> Windows:
        """What turns clips into batches."""

    @abstractmethod
    def _suits(self, entry: ShardEntry) -> bool:
        """Whether a clip can be used."""

    @abstractmethod
    def _unsuited(self) -> str:
        """Why the others cannot: ends the sentence "N of M clips ..."."""

    def _usable(self, split: str) -> tuple[ShardEntry, ...]:
        entries = self.index.of_split(split)
        usable = tuple(entry for entry in entries if self._suits(entry))
        if len(usable) < len(entries):
            left_out = len(entries) - len(usable)
            log.warning(
                "%s: %d of %d %s clips %s", self.folder, left_out, len(entries), split, self._unsuited()
            )
        return usable

    def _split(self, split: str) -> Sequence[ShardEntry]:
        self.setup()
        if split == "train" and not self._entries[split]:
            raise ValueError(f"{self.folder} holds no clip to train on")
        return self._entries[split]

    def _loader(self, dataset: Any, persistent: bool) -> DataLoader:
        workers = self.num_workers
        return DataLoader(
            dataset,
            batch_size=None,  # the data set makes the batches: their order must not depend on the workers
            num_workers=workers,
            persistent_workers=persistent and workers > 0,
            multiprocessing_context=_fresh_processes() if workers else None,
        )

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer is not None else 0

    @property
    def _world_size(self) -> int:
        return self.trainer.world_size if self.trainer is not None else 1


def _fresh_processes() -> BaseContext:
    """Workers that inherit no CUDA and no threads (forking those deadlocks), quick to start after the first."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["aniportrait.data.stream", "aniportrait.data.windows"])
    return context


class SpeechData(ShardData):
    """Batches of SpeechBatch: windows of speech with the meshes and head poses that go with it.

    Clips without sound are left out, and said to be.

    Args:
        folder, batch_size, num_workers, seed, build, max_bad: see ShardData.
        window_frames: frames of a window; shorter clips are padded and the padding marked as not valid.
        cache_bytes: how much decoded sound and mesh each process keeps in memory.
        start_step: training windows begin at multiples of it, frames.
    """

    def __init__(
        self,
        folder: str | Path,
        batch_size: int = 8,
        num_workers: int = 0,
        seed: int = 0,
        window_frames: int = 64,
        build: DataSetBuilder | None = None,
        max_bad: int = 10,
        cache_bytes: int = 2 * GIB,
        start_step: int = 1,
    ):
        super().__init__(folder, batch_size, num_workers, seed, build, max_bad)
        if window_frames < 1 or start_step < 1:
            raise ValueError(
                f"window_frames ({window_frames}) and start_step ({start_step}) must be at least 1"
            )
        self.window_frames, self.cache_bytes, self.start_step = window_frames, cache_bytes, start_step

    def _windows(self) -> SpeechWindows:
        return SpeechWindows(
            self.folder,
            self.index.fps,
            self.window_frames,
            self.identities,
            self.cache_bytes,
            self.start_step,
        )

    def _suits(self, entry: ShardEntry) -> bool:
        return entry.has_audio

    def _unsuited(self) -> str:
        return "have no sound and are left out"


class PortraitData(ShardData):
    """Batches of PortraitBatch: frames with their landmarks drawn, and a portrait of the same person.

    Args:
        folder, batch_size, num_workers, seed, build, max_bad: see ShardData.
        image_size: side of the pictures, pixels.
        frames: frames of an item: 1 for stage 1, the motion window for stage 2; shorter clips are left out.
        strides: steps between frames to choose from, with equal chance.
        min_reference_gap: frames between the portrait and every frame of the item, if the clip is long enough.
        cache_bytes: how much video and landmarks each process keeps in memory.
        keep_decoded: keep pictures decoded and resized, landmarks drawn, rather than compressed video.
        colour_change: 0 to 1, how much the colours of training items are changed, frames and portrait alike.
    """

    def __init__(
        self,
        folder: str | Path,
        batch_size: int = 4,
        num_workers: int = 0,
        seed: int = 0,
        image_size: int = 256,
        frames: int = 1,
        strides: Sequence[int] = (1,),
        min_reference_gap: int = 8,
        build: DataSetBuilder | None = None,
        max_bad: int = 10,
        cache_bytes: int = GIB // 2,
        keep_decoded: bool = False,
        colour_change: float = 0.0,
    ):
        super().__init__(folder, batch_size, num_workers, seed, build, max_bad)
        if frames < 1 or not strides or min(strides) < 1 or min_reference_gap < 0 or image_size < 8:
            raise ValueError(
                f"frames ({frames}) and every stride ({list(strides)}) must be at least 1, min_reference_gap "
                f"({min_reference_gap}) not negative, image_size ({image_size}) at least 8"
            )
        self.image_size, self.frames, self.strides = image_size, frames, tuple(int(step) for step in strides)
        self.min_reference_gap, self.cache_bytes = min_reference_gap, cache_bytes
        if not 0 <= colour_change <= 1:
            raise ValueError(f"colour_change ({colour_change}) must be from 0 to 1")
        self.keep_decoded, self.colour_change = keep_decoded, colour_change

    def _windows(self) -> PortraitWindows:
        return PortraitWindows(
            self.folder,
            self.image_size,
            self.frames,
            self.strides,
            self.min_reference_gap,
            self.cache_bytes,
            self.keep_decoded,
            self.colour_change,
        )

    def _suits(self, entry: ShardEntry) -> bool:
        return entry.frames >= self.frames

    def _unsuited(self) -> str:
        return f"are shorter than {self.frames} frames and are left out"
