"""Whether the denoiser listens to its conditions: how much worse it gets under those of another clip."""

import logging
from typing import Any

import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from aniportrait.data.schema import PortraitBatch
from aniportrait.models.portrait_networks import Conditions
from aniportrait.training.callbacks.spread_clips import SpreadClips
from aniportrait.training.generators import validation_generators
from aniportrait.training.log_mean import log_mean
from aniportrait.training.portrait_step import frame_latents, portrait_loss
from aniportrait.training.sharding import gathered

log = logging.getLogger(__name__)


class ConditionGaps(SpreadClips):
    """At every validation logs `val/gap_reference` and `val/gap_landmarks`, 0 where that condition is ignored.

    A gap is the loss under the reference features and image embedding (or the pose features) of another clip, less the
    loss under a clip's own, in the units of `val/loss`, of the same frames, noise and timesteps. What frames are said
    relative to stays the clip's own portrait. Clips from all over the validation borrow from one another in turns;
    of one person, they understate the gap. Conditions are computed once, so that it costs three passes of the denoiser.

    Over several ranks a gap is the mean over their clips; a rank with one clip borrows from nobody and does not
    count. Where no rank has two, nothing is logged and a warning says so.

    Args:
        clips: at most so many of each rank.
    """

    def __init__(self, clips: int = 4):
        super().__init__(clips)
        self._said = False

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        batch = self.taken()
        count = len(batch.keys) if batch is not None else 0
        if not trainer.strategy.reduce_boolean_decision(count > 1, all=False):
            if not self._said:
                log.warning("no val/gap_* is measured: it takes two validation clips on one rank")
            self._said = True
            return
        gaps = {"reference": 0.0, "landmarks": 0.0}  # weighs nothing on a rank that has no two
        with gathered(pl_module), trainer.precision_plugin.forward_context():
            if batch is not None and count > 1:
                gaps = _gaps(pl_module, batch)
        for name, gap in gaps.items():
            log_mean(pl_module, f"val/gap_{name}", gap, count if count > 1 else 0, shown=False)


def _gaps(module: Any, batch: PortraitBatch) -> dict[str, float]:
    batch = batch._replace(latents=frame_latents(module.networks, batch))  # encoded once
    own: Conditions = module.conditions(batch)
    strangers = {
        "reference": own._replace(
            reference_features={name: _next(part) for name, part in own.reference_features.items()},
            image_embeds=_next(own.image_embeds),
        ),
        "landmarks": own._replace(pose_features=tuple(_next(part) for part in own.pose_features)),
    }
    loss = _loss(module, own, batch)
    return {name: float(_loss(module, other, batch) - loss) for name, other in strangers.items()}


def _loss(module: Any, conditions: Conditions, batch: PortraitBatch) -> Tensor:
    generators = validation_generators(module, module.seed, batch.keys)  # begin anew: the same draws
    settings = module.settings.without_dropout()
    return portrait_loss(module.networks, module.scheduler, conditions, batch, settings, generators)[0]


def _next(of_clips: Tensor) -> Tensor:
    return of_clips.roll(-1, 0)
