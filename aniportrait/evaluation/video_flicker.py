"""How much a generated video changes from frame to frame where, or how, the real one doesn't."""

import torch
from torch import Tensor

from aniportrait.evaluation.flicker import Flicker
from aniportrait.evaluation.moving_regions import neighbouring_frames
from aniportrait.evaluation.region_metric import RegionMetric
from aniportrait.evaluation.video_pair import VideoPair


class VideoFlicker(RegionMetric):
    """Flicker of one region of the generated video, [0, 1] RGB."""

    higher_is_better = False
    digits = 4

    def figure(self, pair: VideoPair) -> Tensor:
        flicker = Flicker()
        # No tensors: a small one in every freed frame's place would keep it from the next.
        pairs: list[float] = []
        for frames in neighbouring_frames(pair, self.region, self.device):
            pairs += flicker.scores(*frames).tolist()
        return torch.tensor(pairs, dtype=torch.float64).nanmean()
