"""How much a generated video changes from frame to frame where, or how, the real one doesn't."""

import torch
from torch import Tensor

from aniportrait.evaluation.flicker import Flicker
from aniportrait.evaluation.moving_regions import known_region, neighbouring_frames
from aniportrait.evaluation.video_metric import ClipMeanMetric
from aniportrait.evaluation.video_pair import VideoPair


class VideoFlicker(ClipMeanMetric):
    """Flicker of one region of the generated video, [0, 1] RGB.

    Args:
        region: "mouth", "background" or "whole", where the real video's landmarks are.
    """

    topic = "motion"
    backend = "pixels, [0, 1] RGB; mouth and background by MediaPipe's landmarks of the real frames"
    needs = frozenset({"real"})
    higher_is_better = False
    digits = 4

    def __init__(self, region: str = "whole", **kwargs):
        super().__init__(**kwargs)
        self.region = known_region(region)

    def figure(self, pair: VideoPair) -> Tensor:
        flicker = Flicker()
        pairs: list[
            float
        ] = []  # not tensors: a small one in every freed frame's place would keep it from the next
        for frames in neighbouring_frames(pair, self.region, self.device):
            pairs += flicker.scores(*frames).tolist()
        return torch.tensor(pairs, dtype=torch.float64).nanmean()
