"""Training of audio2pose: speech and past head poses -> the next head pose."""

from collections.abc import Callable
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor, nn

from aniportrait.data.schema import SpeechBatch
from aniportrait.training.losses import PoseLikelihood, PoseRegression
from aniportrait.training.optimisation import optimisers


class Audio2PoseTraining(LightningModule):
    """Owns the optimisation of an audio2pose network with teacher forcing; logs `loss/*` and `val/loss`.

    Args:
        audio2pose: what is trained.
        loss: of (prediction, true head pose, valid).
        optimizer: parameters -> optimizer.
        lr_schedule: optimizer -> schedule, stepped once per step.
    """

    def __init__(
        self,
        audio2pose: nn.Module,
        loss: PoseLikelihood | PoseRegression,
        optimizer: Callable[..., torch.optim.Optimizer],
        lr_schedule: Callable[..., Any],
    ):
        super().__init__()
        self.networks = nn.ModuleDict({"audio2pose": audio2pose})
        self.loss = loss
        self._optimizer = optimizer
        self._lr_schedule = lr_schedule

    def training_step(self, batch: SpeechBatch, batch_idx: int) -> Tensor:
        terms = self._terms(batch, batch.identity)
        loss = torch.stack(list(terms.values())).sum()
        self.log_dict({f"loss/{name}": value for name, value in terms.items()}, batch_size=len(batch.keys))
        self.log("loss/total", loss, prog_bar=True, batch_size=len(batch.keys))
        return loss

    def validation_step(self, batch: SpeechBatch, batch_idx: int) -> None:
        loss = torch.stack(list(self._terms(batch, None).values())).sum()
        # A mean over valid frames, weighed by their number: what only fills a batch up has none.
        self.log("val/loss", loss, prog_bar=True, batch_size=int(batch.valid.sum()), sync_dist=True)

    def configure_optimizers(self) -> Any:
        return optimisers(self.networks, self._optimizer, self._lr_schedule)

    def _terms(self, batch: SpeechBatch, identity: Tensor | None) -> dict[str, Tensor]:
        prediction = self.networks["audio2pose"](batch.audio, batch.head_pose, identity)
        return self.loss(prediction, batch.head_pose, batch.valid)
