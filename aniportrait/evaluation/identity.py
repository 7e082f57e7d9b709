"""What scores of who is to be seen have in common."""

from abc import abstractmethod
from typing import Literal

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from aniportrait.evaluation.face_metric import FaceMetric
from aniportrait.evaluation.video_metric import NotScoredError
from aniportrait.evaluation.video_pair import ScoredVideo, VideoPair

CHUNK = 16
"""Faces recognised at a time."""


class FaceIdentity(FaceMetric):
    """How like the right person a generated face is, mean over frames.

    Args:
        against: who is right: "reference", the portrait's face; "real", the face of the same frame of the real video.
    """

    def __init__(self, against: Literal["reference", "real"] = "reference", **kwargs):
        super().__init__(**kwargs)
        if against not in ("reference", "real"):
            raise ValueError(f'against ("{against}") must be "reference" or "real"')
        self.against = against
        self.needs = frozenset({against})

    def valid(self, pair: VideoPair) -> Tensor:
        """(f,) bool: where a face is to be compared; NotScoredError where there is none."""
        shown = pair.generated.track.valid & self._right(pair).track.valid  # one reference is for all frames
        if not shown.any():
            raise NotScoredError(f"no frame shows a face in the generated and the {self.against} picture")
        return torch.from_numpy(shown)

    def figure(self, pair: VideoPair) -> Tensor:
        """() mean over frames; NotScoredError where no face is to be compared."""
        right, frames = self._right(pair), np.flatnonzero(self.valid(pair))
        theirs = self._embedded(right, frames if len(right) > 1 else np.zeros(1, dtype=int))
        return self.compare(self._embedded(pair.generated, frames), theirs).double().mean()

    def _right(self, pair: VideoPair) -> ScoredVideo:
        if self.against == "real":
            if pair.real is None:
                raise NotScoredError("there is no real video of it")
            return pair.real
        if pair.reference is None or pair.reference_track is None:
            raise NotScoredError("its reference or the reference's face is not known")
        return ScoredVideo(pair.reference[None], pair.reference_track, audio=None, fps=pair.generated.fps)

    def _embedded(self, video: ScoredVideo, frames: np.ndarray) -> Tensor:
        """(n, d) of these frames."""
        embedded = []
        for part in np.split(frames, range(CHUNK, len(frames), CHUNK)):
            pictures = rearrange(video.frames[torch.from_numpy(part)].cpu().numpy(), "n c h w -> n h w c")
            embedded.append(self.embeddings(list(pictures), video.track.landmarks[part]))
        return torch.cat(embedded)

    @abstractmethod
    def embeddings(self, pictures: list[np.ndarray], landmarks: np.ndarray) -> Tensor:
        """Args: n pictures (h, w, 3) uint8 RGB; landmarks (n, 478, 3). Returns (n, d) on the CPU."""

    @abstractmethod
    def compare(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """Embeddings (n, d) and (n or 1, d) -> (n,)."""
