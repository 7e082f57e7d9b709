"""Step two of Lmk2Video: the motion modules alone learn how frames follow one another."""

from typing import Any

import torch

from aniportrait.data.schema import PortraitBatch
from aniportrait.models.portrait_networks import Conditions
from aniportrait.training.portrait_step import batch_conditions
from aniportrait.training.stage1 import Stage1


class Stage2(Stage1):
    """As Stage1, on clips, with everything but the motion modules frozen and the conditions taken without gradients.

    Args: see Stage1; the networks' denoiser must have motion modules.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.networks.requires_grad_(False)
        motion = list(self.networks.denoising_unet.motion_parameters())
        if not motion:
            raise ValueError("stage 2 trains motion modules, and this denoising UNet has none")
        for weight in motion:
            weight.requires_grad_(True)
        self.train()  # now, as Lightning keeps the modes that it finds

    def train(self, mode: bool = True) -> "Stage2":
        """Switch the mode; the frozen PoseGuider stays in eval mode, or its BatchNorm would move with every step."""
        super().train(mode)
        self.networks.pose_guider.eval()
        return self

    @torch.no_grad()
    def conditions(self, batch: PortraitBatch) -> Conditions:
        return batch_conditions(self.networks, batch)
