"""Whether generated videos look as true ones do, taken together: distance of two distributions of features."""

import weakref
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.linalg import get_lapack_funcs
from torch import Tensor

from aniportrait.evaluation.video_metric import NotScoredError, VideoMetric
from aniportrait.evaluation.video_pair import ScoredVideo, VideoPair


@dataclass(frozen=True)
class Normal:
    """A normal distribution.

    Args:
        mean: (c,) float64.
        covariance: (c, c) float64.
    """

    mean: Tensor
    covariance: Tensor

    @classmethod
    def fitted(cls, samples: Tensor) -> "Normal":
        """To samples (n, c); covariances are divided by n - 1."""
        samples = samples.double()
        return cls(samples.mean(dim=0), samples.T.cov().reshape(samples.shape[1], -1))


def squared_frechet_distance(a: Normal, b: Normal) -> Tensor:
    """() |mean difference|^2 + tr(A + B - 2 (A B)^(1/2)); Dowson and Landau, 1982.

    No root of a matrix is taken, so that there is nothing imaginary to be thrown away: with A = S S' and B = T T' the
    trace of (A B)^(1/2) is the sum of the singular values of S' T. It is also the same for (b, a).
    """
    crossed = torch.linalg.svdvals(_factor(a).T @ _factor(b)).sum()
    spread = a.covariance.trace() + b.covariance.trace() - 2 * crossed
    return ((a.mean - b.mean).square().sum() + spread).clamp_min(0)


class VideoFrechetDistance(VideoMetric):
    """Frechet distance, squared as FID's is, of features of generated and of real videos; 0 is right.

    Kept are counts, sums and sums of outer products in float64: memory doesn't grow with the clips. All features of
    all clips weigh alike, so that long clips weigh more. The distance shrinks with the number of features even
    where nothing else changes (arXiv 1911.07023): compare figures of equal `samples` only.

    Attributes:
        width: numbers in a feature.
        frames_per_sample: frames that one feature is taken from.
    """

    higher_is_better = False
    needs = frozenset({"real"})
    width: int
    frames_per_sample: int = 1

    clip_count: Tensor
    generated_count: Tensor
    generated_sum: Tensor
    generated_outer: Tensor
    real_count: Tensor
    real_sum: Tensor
    real_outer: Tensor

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._seen: tuple[weakref.ref[ScoredVideo], Tensor] | None = (
            None  # several systems have one real video
        )
        self.add_state("clip_count", torch.tensor(0), dist_reduce_fx="sum")
        for side in ("generated", "real"):
            sums = torch.zeros(self.width, dtype=torch.float64)
            self.add_state(f"{side}_count", torch.tensor(0), dist_reduce_fx="sum")
            self.add_state(f"{side}_sum", sums, dist_reduce_fx="sum")
            self.add_state(f"{side}_outer", torch.outer(sums, sums), dist_reduce_fx="sum")

    @abstractmethod
    def features(self, video: ScoredVideo) -> Tensor:
        """(n, width) float32 on the CPU, a row for each frame or window; NotScoredError where there is none."""

    def measure(self, pair: VideoPair) -> dict[str, Tensor]:
        """generated (n, width), real (m, width) float32."""
        if pair.real is None:
            raise NotScoredError("there is no real video")
        if self._seen is None or self._seen[0]() is not pair.real:
            self._seen = weakref.ref(pair.real), self._checked(pair.real)
        return {"generated": self._checked(pair.generated), "real": self._seen[1]}

    def __getstate__(self) -> dict[str, Any]:
        return {
            **super().__getstate__(),
            "_seen": None,
        }  # weak references are not to be sent to another process

    def update(self, measured: Mapping[str, Tensor]) -> None:
        """Add one clip's features to the sums."""
        generated = measured["generated"].to(self.generated_sum)
        real = measured["real"].to(self.real_sum)
        self.clip_count += 1
        self.generated_count += len(generated)
        self.generated_sum += generated.sum(dim=0)
        self.generated_outer += generated.T @ generated
        self.real_count += len(real)
        self.real_sum += real.sum(dim=0)
        self.real_outer += real.T @ real

    def compute(self) -> Tensor:
        """() the squared distance, float64; nan where a side has less than two features and so no covariance."""
        if min(self.samples) < 2:
            return torch.tensor(torch.nan, dtype=torch.float64, device=self.generated_sum.device)
        return squared_frechet_distance(
            _normal(self.generated_count, self.generated_sum, self.generated_outer),
            _normal(self.real_count, self.real_sum, self.real_outer),
        )

    @property
    def clips(self) -> int:
        """Clips that were taken in."""
        return int(self.clip_count)

    @property
    def samples(self) -> tuple[int, int]:
        """Features of generated and of real videos that were taken in."""
        return int(self.generated_count), int(self.real_count)

    @property
    def frames(self) -> int:
        """Generated frames that were taken in."""
        return self.samples[0] * self.frames_per_sample

    @property
    def note(self) -> str:
        """What has to be said beside the figure; "" where there is nothing."""
        fewest = min(self.samples)
        if fewest < 2:
            return f"no figure: {fewest} features have no covariance"
        if fewest <= self.width:
            return (
                f"{fewest} features of {self.width} numbers: the covariances are not of full rank and the figure "
                "says more about how many there are than about the videos"
            )
        return ""

    def _checked(self, video: ScoredVideo) -> Tensor:
        features = self.features(video)
        if features.ndim != 2 or features.shape[1] != self.width:
            raise ValueError(f"features {tuple(features.shape)} must be rows of {self.width} numbers")
        return features.detach().float().cpu()


def _normal(count: Tensor, total: Tensor, outer: Tensor) -> Normal:
    mean = total / count
    return Normal(mean, (outer - count * torch.outer(mean, mean)) / (count - 1))


def _factor(normal: Normal) -> Tensor:
    """(c, r) S with S S' = the covariance, of its rank r, by Cholesky's method with pivots.

    Rounding leaves 1e-16 of the second moments where a variance should be 0. Roots of that, 1e-8 each, would add up.
    """
    covariance = normal.covariance.cpu().numpy()
    size = covariance.diagonal().max() + normal.mean.square().sum().item()
    tolerance = len(covariance) * np.finfo(covariance.dtype).eps * size
    (pivoted_cholesky,) = get_lapack_funcs(("pstrf",), (covariance,))
    lower, pivots, rank, _ = pivoted_cholesky(covariance, tol=tolerance, lower=1)
    factor = np.empty((len(covariance), rank))
    factor[pivots - 1] = np.tril(lower)[:, :rank]
    return torch.from_numpy(factor).to(normal.covariance)
