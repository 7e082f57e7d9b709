"""A figure with what is needed to believe it: how many clips it is the mean of, and how sure it is."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

DRAWS = 2000
MIN_CLIPS = 5
"""Below this an interval from resampling is not worth its name."""


@dataclass(frozen=True)
class Score:
    """One metric of one system.

    Args:
        value: the figure itself.
        scored: clips it was taken over; None where that is not a count of clips.
        given: clips that were to be scored; None means as many as were scored.
        interval: lower and upper end of the 95 % interval of the mean; None where clips are too few.
        per_seed: the figure with each sampling seed alone, where there are several that have one.
    """

    value: float
    scored: int | None = None
    given: int | None = None
    interval: tuple[float, float] | None = None
    per_seed: tuple[float, ...] = ()

    @property
    def seed_spread(self) -> float | None:
        """Standard deviation over sampling seeds; None where there are not two."""
        return float(np.std(self.per_seed, ddof=1)) if len(self.per_seed) > 1 else None

    @classmethod
    def over_clips(cls, values: Iterable[float], seed: int = 0) -> "Score":
        """The mean over clips of one value each; nan marks a clip that was given but could not be scored."""
        every = np.fromiter((float(value) for value in values), dtype=np.float64)
        answered = every[~np.isnan(every)]
        value = float(answered.mean()) if len(answered) else math.nan
        return cls(value, len(answered), len(every), bootstrap_interval(answered, seed))

    @classmethod
    def over_seeds(cls, values: np.ndarray, seed: int = 0) -> "Score":
        """The mean over clips of each one's mean over sampling seeds: (seeds, clips), nan as for `over_clips`."""
        score = cls.over_clips(means_of_known(values, axis=0), seed)
        if len(values) == 1:
            return score
        means = means_of_known(values, axis=1)
        return replace(score, per_seed=tuple(means[np.isfinite(means)].tolist()))


def means_of_known(values: np.ndarray, axis: int) -> np.ndarray:
    """Means of what is not nan along an axis; nan where all is."""
    known = ~np.isnan(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    return np.divide(total, count, out=np.full(total.shape, math.nan), where=count > 0)


def bootstrap_interval(values: np.ndarray, seed: int = 0) -> tuple[float, float] | None:
    """95 % percentile interval of the mean of (n,) values, drawn with replacement; None below 5 values."""
    if len(values) < MIN_CLIPS or not np.isfinite(values).all():
        return None
    draws = np.random.default_rng(seed).integers(len(values), size=(DRAWS, len(values)))
    low, high = np.percentile(values[draws].mean(axis=1), (2.5, 97.5))
    return float(low), float(high)
