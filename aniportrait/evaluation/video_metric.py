"""What every score of videos is: something that one clip says, and what all clips say together."""

from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor
from torchmetrics import Metric

from aniportrait.evaluation.video_pair import ScoredVideo, VideoPair


class NotScoredError(ValueError):
    """This clip cannot be scored by this metric; the message says why, as in "shorter than 4 s"."""


class MissingBackendError(FileNotFoundError):
    """A metric's weights or package are not here; the message says where they come from and what points to them."""


class VideoMetric(Metric):
    """A score in two halves, so that clips may be measured by any number of processes, and again after a crash.

    `measure` turns a clip into small tensors and changes nothing; they may be kept in a file. `update` takes them
    one clip after the other, `compute` gives the score.

    Attributes:
        needs: what of a VideoPair must be there: any of "real", "reference", "sound".
        topic: the table it stands in: "pictures", "face", "motion" or "sound".
        backend: the network or package behind the figure, and how it is used, in words.
        higher_is_better: None where there is no better.
        unit: of the figure, "" for a plain number.
        digits: shown after the point.
    """

    full_state_update = False
    needs: frozenset[str] = frozenset()
    topic: str = "pictures"
    backend: str = ""
    unit: str = ""
    digits: int = 3

    @property
    def note(self) -> str:
        """What has to be said beside the score, after the updates; "" where there is nothing."""
        return ""

    @abstractmethod
    def measure(self, pair: VideoPair) -> dict[str, Tensor]:
        """What the score depends on of one clip, on the CPU; NotScoredError where it says nothing."""

    @abstractmethod
    def update(self, measured: Mapping[str, Tensor]) -> None:
        """Take what one clip says."""


class ClipMeanMetric(VideoMetric):
    """The mean over clips of one figure each; `per_clip` (n,) holds them in the order of the updates."""

    values: list[Tensor]

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.add_state("values", default=[], dist_reduce_fx="cat")

    @abstractmethod
    def figure(self, pair: VideoPair) -> Tensor | float:
        """The figure of one clip; nan or NotScoredError where it has none."""

    def measure(self, pair: VideoPair) -> dict[str, Tensor]:
        figure = torch.as_tensor(self.figure(pair), dtype=torch.float64).reshape(())
        if figure.isnan():
            raise NotScoredError("no frame of it can be scored")
        return {"figure": figure}

    def update(self, measured: Mapping[str, Tensor]) -> None:
        self.values.append(measured["figure"].reshape(1))

    @property
    def per_clip(self) -> Tensor:
        """(n,) one figure per clip."""
        return torch.cat(self.values) if self.values else torch.empty(0, dtype=torch.float64)

    def compute(self) -> Tensor:
        """() mean over clips; nan without clips."""
        return self.per_clip.mean()


def real_video(pair: VideoPair) -> ScoredVideo:
    """What the pair's video is held against; NotScoredError where there is none."""
    if pair.real is None:
        raise NotScoredError("there is no real video of it")
    return pair.real
