"""Whether a generated video changes from frame to frame as much as the real one does."""

import torch
from torch import Tensor

from aniportrait.evaluation.change_ratio import mean_change, share_of_true
from aniportrait.evaluation.moving_regions import known_region, neighbouring_frames
from aniportrait.evaluation.video_metric import ClipMeanMetric, NotScoredError
from aniportrait.evaluation.video_pair import VideoPair


class VideoChangeRatio(ClipMeanMetric):
    """ChangeRatio of one region of the generated video: 1 is as lively as the real one.

    Args:
        region: "mouth", "background" or "whole", where the real video's landmarks are.
    """

    needs = frozenset({"real"})
    higher_is_better = None

    def __init__(self, region: str = "whole", **kwargs):
        super().__init__(**kwargs)
        self.region = known_region(region)

    def figure(self, pair: VideoPair) -> Tensor:
        changes = [
            torch.stack((mean_change(ours, mask), mean_change(true, mask)))
            for ours, true, mask in neighbouring_frames(pair, self.region, self.device)
        ]
        ours, true = torch.cat(changes, dim=1).double().nanmean(dim=1).cpu()
        ratio = share_of_true(ours, true)
        if ratio.isnan():
            raise NotScoredError(f"the real video's {self.region} does not move or is not seen")
        return ratio
