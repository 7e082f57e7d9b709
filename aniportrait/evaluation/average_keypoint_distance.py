"""The average keypoint distance of reenactment papers, pixels."""

from torch import Tensor

from aniportrait.evaluation.per_clip import PerClipMetric, mean_over_frames

PIXELS = 256


class AverageKeypointDistance(PerClipMetric):
    """Mean absolute difference of landmarks, over points and both coordinates, in pixels of a 256 x 256 picture.

    AKD as the first-order motion model's evaluation has it (github.com/AliaksandrSiarohin/pose-evaluation): of x and
    of y, not of their distance. Papers detect 68 points of another landmarker: their figures are not comparable.
    """

    higher_is_better = False
    unit = "px of 256"
    digits = 2

    def update(self, prediction: Tensor, target: Tensor, valid: Tensor) -> None:
        """Args: prediction, target (b, f, n, 2 or 3) landmarks in shares of the picture's shorter side; valid
        (b, f) bool, where both were detected."""
        super().update(prediction, target, valid)

    def _scores(self, prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        difference = (prediction - target)[..., :2].abs().mean(dim=(-2, -1))
        return mean_over_frames(PIXELS * difference, valid)
