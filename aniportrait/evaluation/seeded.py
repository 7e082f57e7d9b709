"""Suites of one system, one for each sampling seed."""

from collections.abc import Callable
from typing import Any

import numpy as np

from aniportrait.evaluation.scores import Score, means_of_known


class Seeded:
    """As many suites as seeds were sampled with; a system that draws nothing has one.

    Args:
        suite: makes one: an object with `update` and `per_clip() -> {name: (n,)}`.
    """

    def __init__(self, suite: Callable[[], Any]):
        self.suites: list[Any] = []
        self._suite = suite

    def of(self, number: int) -> Any:
        """The suite of the sampling seed with this number; seeds come in order."""
        if number == len(self.suites):
            self.suites.append(self._suite())
        return self.suites[number]

    def values(self, name: str) -> np.ndarray:
        """(seeds, clips)."""
        return np.stack([suite.per_clip()[name].double().numpy() for suite in self.suites])

    def score(self, name: str) -> Score:
        return Score.over_seeds(self.values(name))

    def ratio(self, name: str, other: "Seeded", other_name: str | None = None) -> float | None:
        """The mean of a figure over another system's mean, over those clips that have both; None without any."""
        ours = means_of_known(self.values(name), axis=0)
        theirs = means_of_known(other.values(other_name or name), axis=0)
        both = ~np.isnan(ours) & ~np.isnan(theirs)
        return float(ours[both].mean() / theirs[both].mean()) if both.any() and theirs[both].mean() else None
