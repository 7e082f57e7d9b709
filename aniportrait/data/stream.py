"""Batches from an order: an endless stream for training, a complete list for evaluation; what cannot be read is
replaced, named and counted."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from aniportrait.data.order import SampleOrder
from aniportrait.data.parent import end_with_the_parent
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

    Rank r of w takes the positions that leave r when divided by w, and of its batches, worker k of n takes the
    ones that leave k when divided by n; so the loader yields the same batches in the same order with any number
    of workers, and every rank has a batch for every step.

    Args:
        windows: draws an item from a clip.
        entries: the clips.
        order: which clip stands at which position.
        batch_size: items of a batch.
        start: position of the first item, over all ranks: how many items all ranks have used together.
        rank, world_size: of this process.
        max_bad: clips of this rank that may turn out unreadable before that is an error; until then each is
            named and the next readable clip of the order takes its place.
    """

    def __init__(
        self,
        windows: Windows,
        entries: Sequence[ShardEntry],
        order: SampleOrder,
        batch_size: int,
        start: int = 0,
        rank: int = 0,
        world_size: int = 1,
        max_bad: int = 10,
    ):
        self.windows, self.entries, self.order, self.batch_size = windows, tuple(entries), order, batch_size
        self.start, self.rank, self.world_size = start, rank, world_size
        self.damage = Damage(len(self.entries), max_bad)

    def __iter__(self) -> Iterator[Any]:
        number, workers = _worker()
        while True:
            positions = number * self.batch_size + np.arange(self.batch_size)
            items = [self.item(self.start + self.rank + int(k) * self.world_size) for k in positions]
            yield self.windows.collate(items)
            number += workers

    def item(self, position: int) -> Any:
        """The item at a position of the order that all ranks share."""
        tried = 0
        for number in self.order.candidates(position):  # the first one, unless clips are unreadable
            entry, tried = self.entries[number], tried + 1
            generator = np.random.default_rng((self.order.seed, 1, position))
            try:  # one that is damaged in part too: what is known of it a resumed run does not know
                return self.windows.random(entry, generator)
            except ShardError as error:
                self.damage.count(number, entry, error)
        raise ShardError(f"none of the {tried} clips can be read")


class EvaluationList(IterableDataset):
    """Batches of the fixed windows of every clip, each exactly once, over all ranks.

    Every rank has the same number of items, so of batches: the last rank repeats its last item where the number
    does not divide, marked as not `counted`. So is the item that stands for an unreadable one.

    Args:
        windows: takes the items from a clip.
        entries: the clips; rank r takes the r-th share of their windows.
        batch_size: items of a batch; the last one may be smaller.
        max_bad: as for TrainingStream.
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
        self.windows, self.batch_size, self.entries = windows, batch_size, tuple(entries)
        places = [(number, k) for number, entry in enumerate(entries) for k in range(windows.count(entry))]
        share = -(-len(places) // world_size)
        self._places = places[rank * share : (rank + 1) * share]
        self._counted = len(self._places)
        self._places += places[-1:] * (share - self._counted)
        self.damage = Damage(len(self.entries), max_bad)

    def __len__(self) -> int:
        return -(-len(self._places) // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        number, workers = _worker()
        for first in range(number * self.batch_size, len(self._places), workers * self.batch_size):
            last = min(first + self.batch_size, len(self._places))
            yield self.windows.collate([self._item(place) for place in range(first, last)])

    def _item(self, place: int) -> Any:
        """The item at a place; if that cannot be read, the next that can, not counted."""
        for turn in range(len(self._places)):
            number, k = self._places[(place + turn) % len(self._places)]
            entry = self.entries[number]
            if not self.damage.known(number):
                try:
                    item = self.windows.fixed(entry, k)
                    return item if turn == 0 and place < self._counted else item._replace(counted=False)
                except ShardError as error:
                    self.damage.count(number, entry, error)
        raise ShardError(f"none of the {len(self._places)} windows to evaluate can be read")


class Damage:
    """Names and counts clips that cannot be read, up to a bound; the loading processes of a rank share the count.

    Args:
        clips: how many there are.
        bound: how many of them may be unreadable.
    """

    def __init__(self, clips: int, bound: int):
        self.bound = bound
        self._bad = torch.zeros(clips, dtype=torch.bool).share_memory_()

    def __len__(self) -> int:
        return int(self._bad.sum())

    def known(self, number: int) -> bool:
        """Whether the clip has turned out unreadable."""
        return bool(self._bad[number])

    def count(self, number: int, entry: ShardEntry, error: ShardError) -> None:
        if self.known(number):
            return
        self._bad[number] = True
        if len(self) > self.bound:
            raise ShardError(
                f"more than max_bad ({self.bound}) clips cannot be read, the last: {error}"
            ) from error
        log.warning("clip %s is left out (%d of at most %d): %s", entry.key, len(self), self.bound, error)


def begin_loading(worker: int) -> None:
    """What a loading process does first: one thread, there are many of them already, and torch sees to its own.

    Its parent in the system's eyes is what forked it, so that it has to be told whose end is its own.
    """
    cv2.setNumThreads(1)
    end_with_the_parent()


def _worker() -> tuple[int, int]:
    """(number of this loading process, how many there are)."""
    worker = get_worker_info()
    return (worker.id, worker.num_workers) if worker else (0, 1)
