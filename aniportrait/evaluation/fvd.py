"""Whether generated videos look and move as true ones do, by the measure that papers give."""

import hashlib
import io
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from aniportrait.checkpoints.tensor_files import WeightsError
from aniportrait.evaluation.backend_files import given_file
from aniportrait.evaluation.frechet_distance import VideoFrechetDistance
from aniportrait.evaluation.video_metric import NotScoredError
from aniportrait.evaluation.video_pair import ScoredVideo

FILE = "i3d_torchscript.pt"
URL = f"https://www.dropbox.com/s/ge9e5ujwgetktms/{FILE}"
SHA256 = "bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2"
SOURCE = f"{FILE} of StyleGAN-V from {URL} (also {FILE} of huggingface.co/flateon/FVD-I3D-torchscript)"
SIZE = 224
SHORTEST_WINDOW = 10
"""Frames; I3D's strides leave nothing of less."""


class FrechetVideoDistance(VideoFrechetDistance):
    """FVD (arXiv 1812.01717) of StyleGAN-V's I3D, of windows that lie side by side in each clip.

    The protocol is the widespread one: the whole frame, its shorter side brought to 224, the middle of it, RGB in
    [-1, 1]. Scores of face crops, of [0, 1] (LatentSync) or of other windows don't compare. A clip shorter than the
    window isn't scored, and frames after its last window are left out: features of windows of several lengths would
    have several distributions.

    TorchScript is a program. Loading the file runs code that it brings and there is no safe way to load it, says
    PyTorch (torch.jit.load's warning; SECURITY.md: treat it as locally executable code). So no byte of a file is
    interpreted before its sha256 is what `sha256` says, and that is the published file's unless you name another.

    Args:
        weights: the TorchScript file, called as (x, rescale, resize, return_features), (1, 3, f, 224, 224) -> (1, 400).
        window: frames.
        sha256: of the file that you trust, hexadecimal.
    """

    width = 400
    digits = 1

    def __init__(self, weights: str | None = None, window: int = 16, sha256: str = SHA256, **kwargs):
        if window < SHORTEST_WINDOW:
            raise ValueError(
                f"window ({window}) must be at least {SHORTEST_WINDOW} frames: I3D takes no shorter ones"
            )
        super().__init__(**kwargs)
        self.network = _trusted_program(weights, sha256)
        self.frames_per_sample = window
        origin = "the published file" if sha256.lower() == SHA256 else "NOT the published file"
        self.backend = (
            f"I3D of Kinetics-400 from StyleGAN-V (TorchScript), 400 numbers; sha256 {sha256.lower()} ({origin}); "
            f"windows of {window} frames side by side, the rest left out; whole frames, shorter side to {SIZE} "
            "bilinearly without antialiasing, centre crop, [-1, 1]; covariances divided by n - 1"
        )

    def features(self, video: ScoredVideo) -> Tensor:
        """(windows, 400) float32."""
        window = self.frames_per_sample
        if len(video) < window:
            raise NotScoredError(f"{len(video)} frames are fewer than the window of {window}")
        if video.frames.dtype != torch.uint8:
            raise ValueError(f"frames are {video.frames.dtype} and must be uint8")
        starts = range(0, len(video) - window + 1, window)
        return torch.cat([self._feature(video.frames[start : start + window]) for start in starts])

    def _feature(self, frames: Tensor) -> Tensor:
        self.network.eval()
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            picture = centre_crop(frames.to(self.device))
            clip = picture.transpose(0, 1)[None]
            return self.network(clip.contiguous(), rescale=False, resize=False, return_features=True).cpu()


def centre_crop(frames: Tensor) -> Tensor:
    """(f, 3, h, w) uint8 -> (f, 3, 224, 224) in [-1, 1]: the middle square of the frame."""
    height, width = frames.shape[-2:]
    scale = SIZE / min(height, width)
    # Where rounding would let the shorter side be 225, it is 224.
    sides = tuple(SIZE if side == min(height, width) else math.ceil(side * scale) for side in (height, width))
    resized = F.interpolate(frames.float() / 255, sides, mode="bilinear", align_corners=False)
    top, left = ((side - SIZE) // 2 for side in sides)
    return 2 * resized[..., top : top + SIZE, left : left + SIZE] - 1


def _trusted_program(path: str | None, sha256: str) -> torch.jit.ScriptModule:
    """The program at `path`; WeightsError, before anything of it is read, unless it is the one that is trusted."""
    file = given_file(path, "metrics.fvd.weights", SOURCE)
    content = file.read_bytes()  # once: what is hashed is what is run
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256.lower():
        raise WeightsError(
            f"{file} has the sha256 {digest} and not {sha256}: it is a program (TorchScript), and only the one you "
            f"trust is run; if you trust this one, set metrics.fvd.sha256={digest}"
        )
    return torch.jit.load(io.BytesIO(content), map_location="cpu").eval()
