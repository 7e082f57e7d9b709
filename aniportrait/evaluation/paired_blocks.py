"""Whether one system follows the truth better than another, on the same stretches of the same clips."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 4000


@dataclass(frozen=True)
class PairedDifference:
    """Mean over clips of one system's correlation less another's.

    Args:
        value: on the clips as they are.
        interval: lower and upper end of the 95 % interval over draws.
        above_zero: share of the draws in which the first system is better.
        blocks: how many blocks were drawn from.
    """

    value: float
    interval: tuple[float, float]
    above_zero: float
    blocks: int


def paired_correlation_difference(
    clips: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], block: int, seed: int = 0
) -> PairedDifference:
    """Paired bootstrap: every draw takes, within each clip, blocks with replacement, the same for both systems.

    Neighbouring frames of speech are not independent, blocks of a second nearly are.

    Args:
        clips: (first system, second system, truth), (f,) each.
        block: frames.
    """
    generator = np.random.default_rng(seed)
    whole, drawn, blocks = [], np.zeros(DRAWS), 0
    for first, second, truth in clips:
        sums = _block_sums(np.stack((first, second, truth)).astype(np.float64), block)
        count = len(sums)
        blocks += count
        whole.append(_difference(sums.sum(axis=0)))
        weights = generator.multinomial(count, np.full(count, 1 / count), size=DRAWS)
        drawn += _difference(np.einsum("d b, b ... -> d ...", weights, sums)) / len(clips)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return PairedDifference(
        float(np.mean(whole)), (float(low), float(high)), float((drawn > 0).mean()), blocks
    )


def _block_sums(signals: np.ndarray, block: int) -> np.ndarray:
    """(3, f) -> (blocks, 4, 4) sums of products of (1, first, second, truth) over each block."""
    signals = signals - signals.mean(axis=1, keepdims=True)
    rows = np.concatenate((np.ones_like(signals[:1]), signals))
    starts = range(0, signals.shape[1], block)
    return np.stack([rows[:, s : s + block] @ rows[:, s : s + block].T for s in starts])


def _difference(sums: np.ndarray) -> np.ndarray:
    """(..., 4, 4) sums -> (...) correlation of the first with the truth, less that of the second."""
    count = sums[..., :1, :1]
    covariance = sums / count - sums[..., :, :1] * sums[..., :1, :] / count**2
    deviation = np.sqrt(np.maximum(np.einsum("... i i -> ... i", covariance), 1e-12))
    return (
        covariance[..., 1, 3] / deviation[..., 1] - covariance[..., 2, 3] / deviation[..., 2]
    ) / deviation[..., 3]
