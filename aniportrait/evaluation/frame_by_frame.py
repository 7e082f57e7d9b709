"""What scores that hold each generated frame against the real one have in common."""

from abc import abstractmethod

import torch
from torch import Tensor

from aniportrait.evaluation.video_metric import ClipMeanMetric, NotScoredError
from aniportrait.evaluation.video_pair import VideoPair
from aniportrait.face.track import FaceTrack


class FrameByFrameMetric(ClipMeanMetric):
    """The mean over a clip's frames of one figure each; frames that have none are left out.

    A few frames are taken at a time, on the metric's device: as float32, two videos of 60 s at 512 pixels fill 9 GB.

    Args:
        every: every so many frames one is taken: neighbours are nearly alike, and some networks are slow.

    Attributes:
        chunk: frames taken at a time.
    """

    needs = frozenset({"real"})
    chunk: int = 8

    def __init__(self, every: int = 1, **kwargs):
        super().__init__(**kwargs)
        if every < 1:
            raise ValueError(f"every ({every}) must be at least 1")
        self.every = every
        self.taken = "" if every == 1 else f", one frame of {every}"

    @torch.no_grad()
    def figure(self, pair: VideoPair) -> Tensor:
        """() mean over frames; nan where no frame has a figure."""
        if pair.real is None:
            raise NotScoredError("there is no real video to hold it against")
        figures = []
        for start in range(0, len(pair.real), self.chunk * self.every):
            part = slice(start, start + self.chunk * self.every, self.every)
            ours, real = (
                video.frames[part].to(self.device).float() / 127.5 - 1
                for video in (pair.generated, pair.real)
            )
            figures.append(self.of_frames(ours, real, pair.real.track[part]).double().cpu())
        return torch.cat(figures).nanmean()

    @abstractmethod
    def of_frames(self, ours: Tensor, real: Tensor, track: FaceTrack) -> Tensor:
        """(n,) one figure a frame, nan where it has none.

        Args: ours, real (n, 3, h, w) in [-1, 1] on the metric's device; track, the n real faces.
        """
