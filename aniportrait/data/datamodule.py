"""LightningDataModules over shards, one data set or several: speech with meshes, and frames with portraits."""

import hashlib
import logging
import multiprocessing
import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from filelock import FileLock
from lightning import LightningDataModule
from torch.utils.data import DataLoader

from aniportrait.data.mixture import weights_of, without_held_out
from aniportrait.data.order import SampleOrder
from aniportrait.data.shards import ShardEntry, ShardIndex
from aniportrait.data.stream import EvaluationList, TrainingStream, Windows, begin_loading
from aniportrait.data.transport import INDEX, Location, is_local

log = logging.getLogger(__name__)

# EvaluationList shares its batches out among the workers, so its length is right.
warnings.filterwarnings("ignore", message="Your `IterableDataset` has `__len__` defined")

GIB = 2**30


class DataSetBuilder(Protocol):
    """Something that can write a data set, such as SyntheticTalkers."""

    def write(self, folder: str | Path) -> Any: ...


class ShardData(LightningDataModule):
    """What both kinds of data share: the data sets, the splits, the order and where in it the training stands.

    Args:
        folder: where shards and their index lie (see `transport`), or several such data sets, each a mapping with
            `folder` and `weight`: its share of the training items.
        batch_size: items of a batch, on each rank.
        num_workers: loading processes; 0 loads in the training process.
        seed: of the training order and of every window drawn.
        build: writes the data set if the folder has no index.
        max_bad: unreadable clips, on each rank, beyond which training or evaluation stops.
    """

    def __init__(
        self,
        folder: Location | Sequence[Mapping[str, Any]],
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
        self.weights = weights_of(folder)
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.build, self.max_bad = build, max_bad
        self._indexes: list[ShardIndex] = []
        self._entries: dict[str, list[ShardEntry]] = {}
        self._start = 0  # position of the training order at which this process began
        self._used = 0  # batches this process has trained on since

    @property
    def indexes(self) -> list[ShardIndex]:
        """What each data set holds."""
        if not self._indexes:
            self._indexes = [ShardIndex.load(folder) for folder in self.weights]
        return self._indexes

    @property
    def fps(self) -> float:
        """Frames per second of every clip."""
        rates = {index.fps for index in self.indexes}
        if len(rates) > 1:
            raise ValueError(f"data sets of {sorted(rates)} fps cannot be mixed: prepare them with one fps")
        return rates.pop()

    @property
    def position(self) -> int:
        """Items of the training order used so far, by all ranks together."""
        return self._start + self._used * self.batch_size * self._world_size

    @property
    def identities(self) -> tuple[str, ...]:
        """Training identities, in the order of their numbers in the batches."""
        return tuple(sorted({entry.identity for entry in self._split("train")}))

    def prepare_data(self) -> None:
        for folder in self.weights:
            if not is_local(folder) or (Path(folder) / INDEX).is_file():
                continue
            if self.build is None:
                raise FileNotFoundError(
                    f"{folder} holds no {INDEX}: data.folder must point to shards; write them with: "
                    f"python prepare.py source=folder source.path=DIR out={folder}"
                )
            Path(folder).parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{folder}.lock"):  # of several trainings that begin together, one writes it
                if not (Path(folder) / INDEX).is_file():
                    log.info("writing the data set into %s", folder)
                    self.build.write(Path(folder))

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
            self._order(),
            self.batch_size,
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
        return {"position": self.position, "order": self._order_digest()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._start, self._used = int(state_dict["position"]), 0
        if state_dict.get("order", self._order_digest()) != self._order_digest():
            log.warning(
                "data, weights or seed are not those of the checkpoint: the order of samples is another"
            )

    @abstractmethod
    def _windows(self) -> Windows:
        """What turns clips into batches."""

    @abstractmethod
    def _suits(self, entry: ShardEntry) -> bool:
        """Whether a clip can be used."""

    @abstractmethod
    def _unsuited(self) -> str:
        """Why the others cannot: ends the sentence "N of M clips ..."."""

    def _usable(self, split: str) -> list[ShardEntry]:
        """The clips that suit, data set by data set; identities of several sets are kept apart."""
        entries: list[ShardEntry] = []
        for number, index in enumerate(self.indexes):
            of_split = index.of_split(split)
            usable = [entry for entry in of_split if self._suits(entry)]
            if len(usable) < len(of_split):
                counts = len(of_split) - len(usable), len(of_split)
                log.warning("%s: %d of %d %s clips %s", index.folder, *counts, split, self._unsuited())
            if split == "train":
                usable = without_held_out(usable, [other for other in self.indexes if other is not index])
            if len(self.indexes) > 1:
                usable = [replace(entry, identity=f"{number}/{entry.identity}") for entry in usable]
            entries += usable
        return entries

    def _split(self, split: str) -> Sequence[ShardEntry]:
        self.setup()
        if split == "train":
            for folder in self.weights:
                if not any(entry.folder == folder for entry in self._entries[split]):
                    raise ValueError(f"{folder} holds no clip to train on")
        return self._entries[split]

    def _order(self) -> SampleOrder:
        entries = self._split("train")
        sizes = [sum(entry.folder == folder for entry in entries) for folder in self.weights]
        return SampleOrder(sizes, list(self.weights.values()), self.seed)

    def _order_digest(self) -> str:
        """Changes with whatever decides which sample stands at a position."""
        clips = [(entry.key, entry.frames) for entry in self._split("train")]
        decisive = [self.seed, *self.weights.values(), clips]
        return hashlib.sha256(repr(decisive).encode()).hexdigest()[:16]

    def _loader(self, dataset: Any, persistent: bool) -> DataLoader:
        workers = self.num_workers
        return DataLoader(
            dataset,
            batch_size=None,  # the data set makes the batches: their order must not depend on the workers
            num_workers=workers,
            persistent_workers=persistent and workers > 0,
            multiprocessing_context=_fresh_processes() if workers else None,
            worker_init_fn=begin_loading if workers else None,
            pin_memory=torch.cuda.is_available(),
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
    modules = ("own_group", "stream", "speech_windows", "portrait_windows")
    context.set_forkserver_preload([f"aniportrait.data.{module}" for module in modules])
    return context
