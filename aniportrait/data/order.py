"""The order of training samples: endless, a function of the seed alone, from one data set or several."""

from collections.abc import Iterator, Sequence

import numpy as np

BLOCK = 1000
"""Positions within which each of several data sets has exactly its share."""


class SampleOrder:
    """Which sample stands at each position.

    A position belongs to one data set: in each BLOCK of positions every set has its share, scattered. The
    positions of a set run through its samples in rounds ("epochs"): all of them once, in an order that is a
    function of the seed, the round and the set, then again in another.

    Args:
        sizes: samples of each data set; they are numbered through, the first set's first.
        weights: share of the positions that each set gets, as parts of their sum.
        seed: of the order.
    """

    def __init__(self, sizes: Sequence[int], weights: Sequence[float], seed: int):
        if len(sizes) != len(weights) or not sizes or min(sizes) < 1 or min(weights) <= 0:
            raise ValueError(
                f"sizes {list(sizes)} and weights {list(weights)} must be positive, one of each for a data set"
            )
        self.seed, self.sizes = seed, tuple(sizes)
        self._first = np.concatenate(([0], np.cumsum(self.sizes)))
        self._shares = _shares(weights)
        self._block: tuple[int, np.ndarray, np.ndarray] = (-1, np.zeros(0, int), np.zeros(0, int))
        self._rounds: dict[int, tuple[int, np.ndarray]] = {}

    def __call__(self, position: int) -> int:
        """The number of the sample at a position."""
        return next(self.candidates(position))

    def candidates(self, position: int) -> Iterator[int]:
        """That sample, then the ones to take its place, in order, if it cannot be read: all others of its set."""
        number, ordinal = self._place(position)
        count, slot = divmod(ordinal, self.sizes[number])
        order = self._round(number, count)
        for turn in range(len(order)):
            yield int(self._first[number] + order[(slot + turn) % len(order)])

    def _place(self, position: int) -> tuple[int, int]:
        """(data set, how many earlier positions it had)."""
        if len(self.sizes) == 1:
            return 0, position
        block, slot = divmod(position, BLOCK)
        if self._block[0] != block:
            sets = np.repeat(np.arange(len(self.sizes)), self._shares)
            sets = np.random.default_rng((self.seed, 2, block)).permutation(sets)
            earlier = np.empty(BLOCK, int)
            for number, share in enumerate(self._shares):
                earlier[sets == number] = block * share + np.arange(share)
            self._block = block, sets, earlier
        return int(self._block[1][slot]), int(self._block[2][slot])

    def _round(self, number: int, count: int) -> np.ndarray:
        if number not in self._rounds or self._rounds[number][0] != count:
            generator = np.random.default_rng((self.seed, 0, count, number))
            self._rounds[number] = count, generator.permutation(self.sizes[number])
        return self._rounds[number][1]


def _shares(weights: Sequence[float]) -> np.ndarray:
    """Whole numbers with the sum BLOCK, as near to the weights as can be."""
    exact = BLOCK * np.asarray(weights, float) / sum(weights)
    shares = np.floor(exact).astype(int)
    shares[np.argsort(shares - exact, kind="stable")[: BLOCK - shares.sum()]] += 1
    if (shares < 1).any():
        raise ValueError(f"weights {list(weights)}: each must be at least 1/{BLOCK} of their sum")
    return shares
