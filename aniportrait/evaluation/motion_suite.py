"""The scores of how generated pixels move, together."""

from torch import Tensor

from aniportrait.evaluation.change_ratio import ChangeRatio
from aniportrait.evaluation.face_regions import regions
from aniportrait.evaluation.flicker import Flicker
from aniportrait.evaluation.motion_ratio import MotionRatio

REGIONS = ("mouth", "background", "whole")


class MotionSuite:
    """Scores the motion of generated clips against the true ones, region by region."""

    def __init__(self):
        self.flicker = {region: Flicker() for region in REGIONS}
        self.change = {region: ChangeRatio() for region in REGIONS}
        self.motion = {region: MotionRatio() for region in REGIONS}

    def update(self, prediction: Tensor, target: Tensor, landmarks: Tensor) -> None:
        """Takes the scores of some clips.

        Args: prediction, target (b, f, 3, h, w) in [-1, 1]; landmarks (b, f, 478, 2 or 3) in [0, 1].
        """
        for region, mask in regions(landmarks, *target.shape[-2:]).items():
            for metrics in (self.flicker, self.change, self.motion):
                metrics[region].update(prediction, target, mask)

    def per_clip(self) -> dict[str, Tensor]:
        """flicker_<region>, change_<region>, motion_<region> -> (n,) one value per clip."""
        return {
            f"{name}_{region}": metric.per_clip
            for name, metrics in (("flicker", self.flicker), ("change", self.change), ("motion", self.motion))
            for region, metric in metrics.items()
        }
