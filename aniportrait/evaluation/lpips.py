"""LPIPS of videos."""

from typing import Literal

from torch import Tensor

from aniportrait.checkpoints.tensor_files import read_tensors
from aniportrait.evaluation.backend_files import given_file
from aniportrait.evaluation.frame_by_frame import FrameByFrameMetric
from aniportrait.evaluation.perceptual_backbones import PLAIN
from aniportrait.evaluation.perceptual_distance import PerceptualDistance
from aniportrait.face.task_file import sha256_of
from aniportrait.face.track import FaceTrack

WEIGHTS = {
    "alex": "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    "vgg": "https://download.pytorch.org/models/vgg16-397923af.pth",
}
HEADS = "https://github.com/richzhang/PerceptualSimilarity/raw/master/lpips/weights/v0.1/{network}.pth"


class LPIPS(FrameByFrameMetric):
    """Learned perceptual distance (arXiv 1801.03924), version 0.1, of whole frames, mean over frames.

    Figures of different networks, or with `spatial` maps, are not to be compared.

    Args:
        network: "alex" or "vgg".
        weights: torchvision's file of that network.
        heads: LPIPS' file of that network, 5 or 7 kB.

    Raises:
        MissingBackendError: a file is not there.
        WeightsError: it is not what it should be.
    """

    higher_is_better = False
    digits = 4
    chunk = 1

    def __init__(
        self,
        network: Literal["alex", "vgg"] = "alex",
        weights: str | None = None,
        heads: str | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if network not in PLAIN:
            raise ValueError(f'network ("{network}") must be "alex" or "vgg"')
        setting = f"metrics.lpips_{network}"
        features_file = given_file(weights, f"{setting}.weights", WEIGHTS[network])
        heads_file = given_file(heads, f"{setting}.heads", HEADS.format(network=network))
        self.distance = PerceptualDistance(PLAIN[network])
        self.distance.load_published(
            read_tensors(features_file), read_tensors(heads_file), f"{features_file} with {heads_file}"
        )
        sums = " and ".join(sha256_of(file)[:12] for file in (features_file, heads_file))
        name = PLAIN[network].name
        self.backend = f"LPIPS 0.1 on {name}, weights sha256 {sums}; whole frames, not spatial{self.taken}"

    def of_frames(self, ours: Tensor, real: Tensor, track: FaceTrack) -> Tensor:
        """(n,) 0 for equal frames."""
        return self.distance(ours, real)
