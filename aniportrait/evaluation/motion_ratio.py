"""Whether pixels vary over a clip as much as they should."""

from torch import Tensor

from aniportrait.evaluation.change_ratio import share_of_true
from aniportrait.evaluation.per_clip import PerClipMetric


class MotionRatio(PerClipMetric):
    """Standard deviation over time of the pixels in a region, mean over pixels, over that of the true ones.

    1 is right, near 0 a picture that stands still; flicker counts as motion here, so read it beside `Flicker`. A pixel
    belongs to the region if it does so in any frame. Clips whose truth does not move are left out.
    """

    higher_is_better = None

    def update(self, prediction: Tensor, target: Tensor, region: Tensor) -> None:
        """Args: prediction, target (b, f, 3, h, w) in [-1, 1]; region (b, f, h, w) bool."""
        super().update(prediction, target, region)

    def _scores(self, prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        touched = valid.any(dim=1)
        ours, true = (
            (pixel_spread(video) * touched).sum(dim=(-2, -1)) / touched.sum(dim=(-2, -1))
            for video in (prediction, target)
        )
        return share_of_true(ours, true)


def pixel_spread(video: Tensor) -> Tensor:
    """(b, f, 3, h, w) in [-1, 1] -> (b, h, w): each pixel's standard deviation over time, [0, 1] RGB."""
    return (video.clamp(-1, 1) / 2).std(dim=1, correction=0).mean(dim=1)
