"""The order of samples: an endless one for training that is a function of the seed alone, a complete one for
evaluation."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from aniportrait.data.shards import ShardEntry, ShardError

log = logging.getLogger(__name__)


class Windows(Protocol):
    """Turns clips into items and items into batches: SpeechWindows or PortraitWindows."""

    def random(self, entry: ShardEntry, generator: np.random.Generator) -> Any: ...

    def fixed(self, entry: ShardEntry, number: int) -> Any: ...

    def count(self, entry: ShardEntry) -> int: ...

    def collate(self, items: Sequence[Any]) -> Any: ...


class TrainingStream(IterableDataset):
    """Batches without end; the item at position i depends on the seed and i only.

    Every clip occurs once in each run of len(entries) positions, in an order of its own. Rank r of w takes
    the positions that leave r when divided by w, and of its batches, worker k of n takes the ones that leave
    k when divided by n; so the loader yields the same batches in the same order with any number of workers.

    Args:
        windows: draws an item from a clip.
        entries: the clips.
        batch_size: items of a batch.
        seed: of the order and of everything drawn.
        start: position of the first item, over all ranks: how many items all ranks have used together.
        rank, world_size: of this process.
        max_bad: clips that may turn out unreadable, in each process, before that is an error; until then each
            is named and the next readable clip takes its place.
    """

    def __init__(
        self,
        windows: Windows,
        entries: Sequence[ShardEntry],
        batch_size: int,
        seed: int,
        start: int = 0,
        rank: int = 0,
        world_size: int = 1,
        max_bad: int = 10,
    ):
        self.windows, self.entries, self.batch_size, self.seed = windows, tuple(entries), batch_size, seed
        self.start, self.rank, self.world_size = start, rank, world_size
        self._damage = Damage(max_bad)
        self._order: tuple[int, np.ndarray] = (-1, np.zeros(0, np.int64))

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        while True:
            positions = number * self.batch_size + np.arange(self.batch_size)
            items = [self.item(self.start + self.rank + int(k) * self.world_size) for k in positions]
            yield self.windows.collate(items)
            number += workers

    def item(self, position: int) -> Any:
        """The item at a position of the order that all ranks share."""
        epoch, slot = divmod(position, len(self.entries))
        order = self._epoch_order(epoch)
        for turn in range(len(order)):  # more than one only if clips are unreadable
            entry = self.entries[order[(slot + turn) % len(order)]]
            if entry.key not in self._damage.keys:
                try:
                    return self.windows.random(entry, np.random.default_rng((self.seed, 1, position)))
                except ShardError as error:
                    self._damage.count(entry, error)
        raise ShardError(f"none of the {len(order)} clips can be read")

    def _epoch_order(self, epoch: int) -> np.ndarray:
        if self._order[0] != epoch:
            generator = np.random.default_rng((self.seed, 0, epoch))
            self._order = epoch, generator.permutation(len(self.entries))
        return self._order[1]


class EvaluationList(IterableDataset):
    """Batches of the fixed windows of every clip, in the order of the index, each exactly once.

    Args:
        windows: takes the items from a clip.
        entries: the clips; rank r of w takes those whose number leaves r when divided by w.
        batch_size: items of a batch; the last one may be smaller.
        max_bad: as for TrainingStream; an unreadable clip has no place-holder here.
    """

    def __init__(
        self,
        windows: Windows,
        entries: Sequence[ShardEntry],
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        max_bad: int = 10,
    ):
        self.windows, self.batch_size = windows, batch_size
        self.entries = tuple(entries)[rank::world_size]
        self._damage = Damage(max_bad)

    def __len__(self) -> int:
        return -(-sum(self.windows.count(entry) for entry in self.entries) // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        places = [(entry, k) for entry in self.entries for k in range(self.windows.count(entry))]
        batches = [places[k : k + self.batch_size] for k in range(0, len(places), self.batch_size)]
        for batch in batches[number::workers]:
            items = [item for entry, k in batch if (item := self._item(entry, k)) is not None]
            if items:
                yield self.windows.collate(items)

    def _item(self, entry: ShardEntry, number: int) -> Any | None:
        if entry.key not in self._damage.keys:
            try:
                return self.windows.fixed(entry, number)
            except ShardError as error:
                self._damage.count(entry, error)
        return None


class Damage:
    """Counts and names clips that cannot be read, up to a bound.

    Args:
        bound: how many there may be.
    """

    def __init__(self, bound: int):
        self.bound = bound
        self.keys: set[str] = set()

    def count(self, entry: ShardEntry, error: ShardError) -> None:
        self.keys.add(entry.key)
        if len(self.keys) > self.bound:
            raise ShardError(
                f"more than max_bad ({self.bound}) clips cannot be read, the last: {error}"
            ) from error
        log.warning(
            "clip %s is left out (%d of at most %d): %s", entry.key, len(self.keys), self.bound, error
        )
