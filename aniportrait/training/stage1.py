"""Step one of Lmk2Video: ReferenceNet, PoseGuider and the denoising UNet learn single frames."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from diffusers import DDIMScheduler
from lightning import LightningModule
from torch import Tensor

from aniportrait.data.schema import PortraitBatch
from aniportrait.models.portrait_networks import Conditions, PortraitNetworks
from aniportrait.training.generators import step_generators, validation_generators
from aniportrait.training.log_mean import log_mean
from aniportrait.training.optimisation import freeze, optimisers
from aniportrait.training.portrait_step import (
    ConditionDropout,
    ObjectiveSettings,
    batch_conditions,
    portrait_loss,
)
from aniportrait.training.sharding import gathered, shard


class Stage1(LightningModule):
    """Owns the optimisation of everything but the frozen autoencoder and image encoder; logs `loss/*` and `val/loss`.

    Args:
        networks: what is trained, without motion modules.
        scheduler: the noise schedule, of sampling too.
        optimizer: parameters -> optimizer.
        lr_schedule: optimizer -> schedule, stepped once per step.
        condition_dropout: share of samples whose portrait is hidden, for classifier-free guidance.
        image_embeds_dropout, reference_dropout: shares from which one of its two forms is hidden.
        noise_offset, snr_gamma: see `diffusion_loss`.
        face_weight, mouth_weight: of errors in the boxes of face and mouth; see `pixel_weights`.
        change_weight: of errors in what changes between successive frames; see `diffusion_loss`. Stage 1's are not
            successive.
        frozen: beginnings of names of weights that are not trained.
        seed: of noise, timesteps and dropout, together with step and position in the global batch.
    """

    networks: PortraitNetworks
    noise_mean: Tensor  # (b,) of the last training batch, for the alarm that watches it

    def __init__(
        self,
        networks: PortraitNetworks,
        scheduler: DDIMScheduler,
        optimizer: Callable[..., torch.optim.Optimizer],
        lr_schedule: Callable[..., Any],
        condition_dropout: float = 0.1,
        noise_offset: float = 0.05,
        snr_gamma: float = 5.0,
        face_weight: float = 1.0,
        seed: int = 42,
        image_embeds_dropout: float = 0.0,
        reference_dropout: float = 0.0,
        mouth_weight: float = 1.0,
        frozen: Sequence[str] = (),
        change_weight: float = 0.0,
    ):
        super().__init__()
        self.networks = networks
        self.scheduler = scheduler
        dropout = ConditionDropout(condition_dropout, image_embeds_dropout, reference_dropout)
        self.settings = ObjectiveSettings(
            dropout, noise_offset, snr_gamma, face_weight, mouth_weight, change_weight
        )
        for beginning in frozen:
            freeze(networks, beginning)
        self.seed = seed
        self._optimizer = optimizer
        self._lr_schedule = lr_schedule

    def configure_model(self) -> None:
        """Shard the networks, if the strategy is one that does."""
        if self.device_mesh is not None:
            half = self.trainer.precision == "bf16-mixed"
            shard(self.networks, self.device_mesh["data_parallel"], half)

    def conditions(self, batch: PortraitBatch) -> Conditions:
        """The conditions of a batch; gradients reach ReferenceNet and PoseGuider."""
        return batch_conditions(self.networks, batch)

    def training_step(self, batch: PortraitBatch, batch_idx: int) -> Tensor:
        generators = step_generators(self, self.seed, batch_idx, len(batch.keys))
        loss, terms = portrait_loss(
            self.networks, self.scheduler, self.conditions(batch), batch, self.settings, generators
        )
        self.noise_mean = terms.noise_mean
        self.log("loss/total", loss, batch_size=len(batch.keys))
        self.log("loss/unweighted", terms.per_sample.mean(), batch_size=len(batch.keys))
        return loss

    def validation_step(self, batch: PortraitBatch, batch_idx: int) -> None:
        settings = self.settings.without_dropout()
        batch = batch.only_counted()
        generators = validation_generators(self, self.seed, batch.keys)
        loss = torch.zeros((), device=self.device)  # weighs nothing: a rank may have had no clip left
        with gathered(self.networks):
            if batch.keys:
                loss, _ = portrait_loss(
                    self.networks, self.scheduler, self.conditions(batch), batch, settings, generators
                )
        log_mean(self, "val/loss", loss, len(batch.keys))

    def configure_optimizers(self) -> Any:
        return optimisers(self.networks, self._optimizer, self._lr_schedule)
