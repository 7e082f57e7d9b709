"""Exponential moving average of the trained weights, which validation, checkpoints and export use."""

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from aniportrait.training.sharding import part_of, whole

CURRENT = "current_weights"
"""Key under which a checkpoint holds the trained weights themselves; its `state_dict` has their average."""


class EMA(Callback):
    """Averages the weights that take gradients, and no others: frozen networks are neither copied nor rounded.

    After n steps the decay is (1 + n) / (10 + n) at most, as TensorFlow's and diffusers' averages have it: a run
    shorter than its average is long would else end with a good part of what it began from.

    Args:
        decay: of the average, per step, once there were steps enough.
    """

    def __init__(self, decay: float):
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"decay ({decay}) must be at least 0 and below 1")
        self.decay = decay
        self._average: dict[str, Tensor] = {}
        self._step = 0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._average = {
            name: self._average.get(name, weight).detach().to(weight.device, copy=True)
            for name, weight in _trained(pl_module).items()
        }

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._step = trainer.global_step  # which a resumed run does not know before

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step > self._step:  # not for every micro-batch of an accumulated one
            self._step = trainer.global_step
            weights = _trained(pl_module)
            averages = [self._average[name] for name in weights]
            decay = min(self.decay, (1 + self._step) / (10 + self._step))
            torch._foreach_lerp_(averages, [weight.data for weight in weights.values()], 1.0 - decay)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._swap(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._swap(trainer, pl_module)

    @torch.no_grad()
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """After the last checkpoint, which holds both; and where a run is resumed that had all its steps."""
        for name, weight in _trained(pl_module).items():
            weight.copy_(self._average[name])

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        state = checkpoint["state_dict"]
        if self._average and state:  # a rank that does not write may have been given nothing
            checkpoint[CURRENT] = {name: state[name] for name in self._average}
            checkpoint["state_dict"] = {**state, **whole(self._average)}

    @torch.no_grad()
    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """The averages have been loaded as the model's own weights by now."""
        if CURRENT not in checkpoint:
            raise ValueError(
                f"the checkpoint holds no {CURRENT}: it was written without EMA; set callbacks.ema=null"
            )
        for name, weight in _trained(pl_module).items():
            self._average[name] = part_of(checkpoint["state_dict"][name], weight)
            weight.copy_(part_of(checkpoint[CURRENT][name], weight))

    @torch.no_grad()
    def _swap(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != TrainerFn.FITTING:
            return
        for name, weight in _trained(pl_module).items():
            current = weight.clone()
            weight.copy_(self._average[name])
            self._average[name].copy_(current)


def _trained(module: LightningModule) -> dict[str, Tensor]:
    return {name: weight for name, weight in module.named_parameters() if weight.requires_grad}
