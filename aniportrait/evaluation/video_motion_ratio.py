"""Whether pixels of a generated video vary over time as much as the real one's."""

import torch
from torch import Tensor

from aniportrait.evaluation.change_ratio import share_of_true
from aniportrait.evaluation.motion_ratio import pixel_spread
from aniportrait.evaluation.moving_regions import surrounding, to_floats, touched_pixels
from aniportrait.evaluation.region_metric import RegionMetric
from aniportrait.evaluation.video_metric import NotScoredError, real_video
from aniportrait.evaluation.video_pair import VideoPair

ROWS = 8


class VideoMotionRatio(RegionMetric):
    """MotionRatio of one region of the generated video: 1 is right, near 0 a picture that stands still."""

    def figure(self, pair: VideoPair) -> Tensor:
        real = real_video(pair)
        touched = touched_pixels(real, self.region)
        box = surrounding(touched)
        ours, true = (
            self._spread(video.frames[(..., *box)], touched[box]) for video in (pair.generated, real)
        )
        ratio = share_of_true(ours, true)
        if ratio.isnan():
            raise NotScoredError(f"the real video's {self.region} does not move or is not seen")
        return ratio

    def _spread(self, frames: Tensor, touched: Tensor) -> Tensor:
        """(f, 3, h, w) uint8, (h, w) bool -> () [0, 1] RGB: all frames of a few rows at a time, so it is exact."""
        total = torch.zeros((), dtype=torch.float64)
        for first in range(0, len(touched), ROWS):
            rows = slice(first, first + ROWS)
            spread = pixel_spread(to_floats(frames[None, :, :, rows].to(self.device)))[0].cpu()
            total += spread[touched[rows]].double().sum()
        return total / touched.sum()
