"""Shift-tolerant LPIPS of videos: a perceptual distance whose weights a pip package carries."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from torch import Tensor

from aniportrait.checkpoints.tensor_files import read_tensors
from aniportrait.evaluation.backend_files import given_file, packaged_file
from aniportrait.evaluation.frame_by_frame import FrameByFrameMetric
from aniportrait.evaluation.perceptual_backbones import SHIFT_TOLERANT
from aniportrait.evaluation.perceptual_distance import PerceptualDistance
from aniportrait.face.task_file import sha256_of
from aniportrait.face.track import FaceTrack

PACKAGE = "stlpips-pytorch"
ADVICE = f"pip install --no-deps {PACKAGE}==0.0.2"
FILE = "weights/vST0.0/{network}_shift_tolerant.pth"
SHA256 = {
    "alex": "b356b382f96010f77d085ee8343ecd9fd322d0a56e8de2b2d0549fafcad8b9ee",
    "vgg": "44597da68f49c1837c100ff52299050f274d102eb102e5837178c79be6f0e250",
}


class ShiftTolerantLPIPS(FrameByFrameMetric):
    """ST-LPIPS (Ghildyal and Liu 2022, arXiv 2207.13686) of whole frames, mean over frames; no LPIPS.

    Its networks blur before they skip pixels and were trained anew: a face that is a pixel aside costs less than in
    LPIPS, and the figures of the two are not to be compared.

    Args:
        network: "alex" or "vgg".
        weights: file to use in place of the one that the package carries.

    Raises:
        MissingBackendError: neither package nor file is there.
        WeightsError: the file is not what it should be.
    """

    higher_is_better = False
    digits = 4
    chunk = 1

    def __init__(self, network: Literal["alex", "vgg"] = "alex", weights: str | None = None, **kwargs):
        super().__init__(**kwargs)
        if network not in SHIFT_TOLERANT:
            raise ValueError(f'network ("{network}") must be "alex" or "vgg"')
        file = _file(network, weights)
        state = read_tensors(file)
        self.distance = PerceptualDistance(SHIFT_TOLERANT[network])
        self.distance.load_published(_convolutions(state), _heads(state), str(file))
        name = SHIFT_TOLERANT[network].name
        self.backend = (
            f"ST-LPIPS 0.0 on {name} ({PACKAGE}), weights sha256 {sha256_of(file)[:12]}; whole frames, not spatial"
            f"{self.taken}"
        )

    def of_frames(self, ours: Tensor, real: Tensor, track: FaceTrack) -> Tensor:
        """(n,) 0 for equal frames."""
        return self.distance(ours, real)


def _file(network: str, weights: str | None) -> Path:
    if weights is None:
        return packaged_file(PACKAGE, FILE.format(network=network), SHA256[network], ADVICE)
    return given_file(weights, f"metrics.stlpips_{network}.weights", f"leave it null and {ADVICE}")


def _convolutions(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`net.sliceK.N.weight` as `features.N.weight`; the blurs' constants are ours."""
    return {
        re.sub(r"^net\.slice\d\.", "features.", key): value
        for key, value in state.items()
        if key.startswith("net.") and not key.endswith(".filt")
    }


def _heads(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if key.startswith("lin")}
