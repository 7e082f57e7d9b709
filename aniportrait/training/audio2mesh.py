"""Training of audio2mesh: speech -> offsets of the metric mesh from the speaker's neutral mesh."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torchmetrics import Metric

from aniportrait.data.schema import SpeechBatch
from aniportrait.models.audio2mesh import Audio2Mesh
from aniportrait.training.losses import MeshLoss
from aniportrait.training.optimisation import optimisers


class Audio2MeshTraining(LightningModule):
    """Owns the optimisation of an Audio2Mesh; logs `loss/*` and `val/*`.

    Args:
        audio2mesh: what is trained.
        loss: of offsets, cm.
        metrics: name -> metric of (vertices, true vertices, valid), logged as `val/<name>`.
        optimizer: parameters -> optimizer.
        lr_schedule: optimizer -> schedule, stepped once per step.
    """

    def __init__(
        self,
        audio2mesh: Audio2Mesh,
        loss: MeshLoss,
        metrics: Mapping[str, Metric],
        optimizer: Callable[..., torch.optim.Optimizer],
        lr_schedule: Callable[..., Any],
    ):
        super().__init__()
        self.networks = nn.ModuleDict({"audio2mesh": audio2mesh})
        self.loss = loss
        self.metrics = nn.ModuleDict(metrics)
        self._metrics = metrics
        self._optimizer = optimizer
        self._lr_schedule = lr_schedule

    def training_step(self, batch: SpeechBatch, batch_idx: int) -> Tensor:
        target = batch.vertices - batch.neutral_vertices[:, None]
        terms = self.loss(self.networks["audio2mesh"](batch.audio, target.shape[1]), target, batch.valid)
        loss = torch.stack(list(terms.values())).sum()
        self.log_dict({f"loss/{name}": value for name, value in terms.items()}, batch_size=len(target))
        self.log("loss/total", loss, batch_size=len(target))
        return loss

    def validation_step(self, batch: SpeechBatch, batch_idx: int) -> None:
        offsets = self.networks["audio2mesh"](batch.audio, batch.vertices.shape[1])
        prediction = batch.neutral_vertices[:, None] + offsets
        for name, metric in self._metrics.items():
            metric.update(prediction, batch.vertices, batch.valid)
            self.log(f"val/{name}", metric, batch_size=len(prediction), prog_bar=True)

    def configure_optimizers(self) -> Any:
        return optimisers(self.networks, self._optimizer, self._lr_schedule)
