"""How much a video changes from frame to frame where, or how, the true one doesn't."""

from torch import Tensor

from aniportrait.evaluation.per_clip import PerClipMetric, mean_over_frames


class Flicker(PerClipMetric):
    """Mean absolute difference between the change from frame to frame and the true change, [0, 1] RGB.

    0 for a video that changes as the true one does, however wrong each frame is: a constant error doesn't flicker,
    noise that differs from frame to frame does. A frozen picture scores the true change, so that standing still is
    no way out. Pairs of frames weigh alike; of a pair those pixels count that lie in the region in both frames.
    """

    higher_is_better = False

    def update(self, prediction: Tensor, target: Tensor, region: Tensor) -> None:
        """Args: prediction, target (b, f, 3, h, w) in [-1, 1]; region (b, f, h, w) bool."""
        super().update(prediction, target, region)

    def _scores(self, prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        unwanted = changes(prediction) - changes(target)
        return mean_over_pairs(unwanted.abs().mean(dim=2), in_both(valid))


def changes(video: Tensor) -> Tensor:
    """(b, f, 3, h, w) in [-1, 1] -> (b, f - 1, 3, h, w): from each frame to the next, [0, 1] RGB."""
    return video.clamp(-1, 1).diff(dim=1) / 2


def in_both(region: Tensor) -> Tensor:
    """(b, f, h, w) bool -> (b, f - 1, h, w): the pixels that are in the region in both frames of a pair."""
    return region[:, 1:] & region[:, :-1]


def mean_over_pairs(values: Tensor, region: Tensor) -> Tensor:
    """(b, f - 1, h, w), in a region of that shape -> (b,): mean over pixels, then pairs; nan where there is none."""
    pixels = region.sum(dim=(-2, -1))
    return mean_over_frames((values * region).sum(dim=(-2, -1)) / pixels, pixels > 0)
