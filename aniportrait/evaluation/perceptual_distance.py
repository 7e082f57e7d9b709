"""How differently a network that recognises things sees two pictures."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from aniportrait.checkpoints.store import load_strictly
from aniportrait.evaluation.perceptual_backbones import Backbone

SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
"""ImageNet's mean and standard deviation, for pictures in [-1, 1], rounded as published."""
EPSILON = 1e-10


class PerceptualDistance(nn.Module):
    """LPIPS (Zhang et al. 2018, arXiv 1801.03924): weighted squared distances of unit feature vectors.

    At some layers of a network every position has a feature vector. Those of both pictures are scaled to length 1;
    their squared difference, channel by channel, is weighted by what fits people's judgement, summed over channels,
    averaged over positions and summed over layers.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, backbone: Backbone):
        super().__init__()
        self.taps = backbone.taps
        self.features = backbone.layers()
        self.heads = nn.ParameterList(torch.ones(1, width, 1, 1) for width in backbone.widths)
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None], persistent=False)
        self.requires_grad_(False).eval()

    def forward(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """Args: ours, theirs (n, 3, h, w) in [-1, 1]. Returns (n,), 0 for equal pictures."""
        maps = (torch.cat((ours, theirs)) - self.shift) / self.scale
        distances = []
        for number, layer in enumerate(self.features):
            maps = layer(maps)
            if number in self.taps:
                distances.append(weighted_distance(maps, self.heads[len(distances)]))
        return torch.stack(distances).sum(dim=0)

    def load_published(self, features: Mapping[str, Tensor], heads: Mapping[str, Tensor], what: str) -> None:
        """Load weights; WeightsError names every key that is missing, too much or of another shape.

        Args:
            features: `features.N.weight` and `.bias`, as torchvision names layers; classifiers are not looked at.
            heads: `linK.model.1.weight` (1, c, 1, 1), as LPIPS names its own.
            what: says in errors where these are from.
        """
        convolutions = {key: value for key, value in features.items() if key.startswith("features.")}
        weights = {f"heads.{key.split('.')[0].removeprefix('lin')}": value for key, value in heads.items()}
        load_strictly(self, convolutions | weights, what)


def weighted_distance(maps: Tensor, weights: Tensor) -> Tensor:
    """Features of n pictures, then of n others (2 n, c, h, w); weights (1, c, 1, 1) -> (n,)."""
    ours, theirs = (maps / (maps.norm(dim=1, keepdim=True) + EPSILON)).chunk(2)
    return ((ours - theirs).square() * weights).sum(dim=1).mean(dim=(-2, -1))
