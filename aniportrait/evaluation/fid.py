"""Whether generated frames look as true ones do, by the measure that papers give."""

import torch
from torch import Tensor

from aniportrait.evaluation.backend_files import given_file
from aniportrait.evaluation.frame_frechet_distance import FrameFrechetDistance
from aniportrait.evaluation.frozen_weights import frozen
from aniportrait.face.task_file import sha256_of
from aniportrait.models.fid_inception import SIZE, FIDInception

FILE = "pt_inception-2015-12-05-6726825d.pth"
URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{FILE}"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"


class FrechetInceptionDistance(FrameFrechetDistance):
    """FID (arXiv 1706.08500) of all frames, resized as TensorFlow 1 does, which torch-fidelity's figures are.

    Resizing without antialiasing makes up edges where a frame is larger than 299, in both videos alike; it is what
    the published figures were taken with.

    Args:
        weights: the published file, or another of its keys and shapes; `backend` says which.
    """

    width = FIDInception.width
    digits = 2
    name = "fid"
    resizing = "resized to 299 x 299 as TensorFlow 1 does, bilinearly without antialiasing"

    def __init__(self, weights: str | None = None, **kwargs):
        file = given_file(weights, f"metrics.{self.name}.weights", f"{FILE} from {URL}")
        super().__init__(frozen(FIDInception(), file), **kwargs)
        digest = sha256_of(file)
        origin = "the published file" if digest == SHA256 else "NOT the published file"
        self.backend = (
            f"FID's Inception-v3 of 2015-12-05, pool_3; weights sha256 {digest[:12]} ({origin}); frames "
            f"{self.resizing}; covariances divided by n - 1"
        )

    def images(self, frames: Tensor) -> Tensor:
        """(b, 3, 299, 299), (RGB - 128) / 128."""
        return (self.resized(frames) - 128) / 128

    def resized(self, frames: Tensor) -> Tensor:
        """(b, 3, h, w) -> (b, 3, 299, 299)."""
        return resized_as_tensorflow1(frames, SIZE)


def resized_as_tensorflow1(images: Tensor, size: int) -> Tensor:
    """(b, c, h, w) float -> (b, c, size, size): pixel k lies at k h / size of the input, between two of its pixels."""
    return _along(_along(images, -1, size), -2, size)


def _along(images: Tensor, dim: int, size: int) -> Tensor:
    length = images.shape[dim]
    # In float32, as TensorFlow does: the share of the next pixel is a difference of large numbers.
    scale = torch.tensor(length / size, dtype=torch.float32, device=images.device)
    positions = torch.arange(size, dtype=torch.float32, device=images.device) * scale
    before = positions.long()
    after = (before + 1).clamp_max(length - 1)
    share = (positions - before).reshape(-1, *[1] * (-1 - dim))
    first = images.index_select(dim, before)
    return first + (images.index_select(dim, after) - first) * share
