"""FID as torchmetrics resizes for it."""

import torch.nn.functional as F
from torch import Tensor

from aniportrait.evaluation.fid import FrechetInceptionDistance
from aniportrait.models.fid_inception import SIZE


class AntialiasedFrechetInceptionDistance(FrechetInceptionDistance):
    """FID of frames resized with antialiasing, torchmetrics' default; no figure compares with one of `fid`.

    Of frames larger than 299 the two differ much, of smaller ones little.
    """

    name = "fid_antialiased"
    resizing = "resized to 299 x 299 bilinearly with antialiasing, as torchmetrics does"

    def resized(self, frames: Tensor) -> Tensor:
        """(b, 3, h, w) -> (b, 3, 299, 299)."""
        return F.interpolate(frames, (SIZE, SIZE), mode="bilinear", align_corners=False, antialias=True)
