"""Whether a generated video changes from frame to frame as much as the real one does."""

import torch
from torch import Tensor

from aniportrait.evaluation.change_ratio import mean_change, share_of_true
from aniportrait.evaluation.moving_regions import neighbouring_frames
from aniportrait.evaluation.region_metric import RegionMetric
from aniportrait.evaluation.video_metric import NotScoredError
from aniportrait.evaluation.video_pair import VideoPair


class VideoChangeRatio(RegionMetric):
    """ChangeRatio of one region of the generated video: 1 is as lively as the real one."""

    def figure(self, pair: VideoPair) -> Tensor:
        changes: list[tuple[float, float]] = []  # not tensors, as in VideoFlicker
        for ours, true, mask in neighbouring_frames(pair, self.region, self.device):
            changes += zip(mean_change(ours, mask).tolist(), mean_change(true, mask).tolist(), strict=True)
        ratio = share_of_true(*torch.tensor(changes, dtype=torch.float64).nanmean(dim=0))
        if ratio.isnan():
            raise NotScoredError(f"the real video's {self.region} does not move or is not seen")
        return ratio
