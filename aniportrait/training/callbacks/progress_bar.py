"""The progress bar of a training that counts steps."""

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar

LOSS = "loss/total"
"""Not logged with prog_bar=True: Lightning would wait for the device at every step, on every rank."""


class StepProgressBar(RichProgressBar):
    """Lightning's, without the number of an epoch that never ends (it says "Epoch 0/-2") and of a version.

    The loss is shown as often as it is logged. Where no terminal is, it writes nothing but how it ended.

    Args: see RichProgressBar.
    """

    def __init__(self, **settings: Any):
        super().__init__(**settings)
        self._loss: dict[str, float] = {}

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        if trainer.global_step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self._loss = loss(trainer)
        figures = super().get_metrics(trainer, pl_module)
        return {**self._loss, **{name: figure for name, figure in figures.items() if name != "v_num"}}

    def _get_train_description(self, current_epoch: int) -> str:
        return "Training"


def loss(trainer: Trainer) -> dict[str, float]:
    """The last step's, by its name, once the device has it; nothing before the first."""
    figures = trainer.callback_metrics
    return {LOSS: figures[LOSS].item()} if LOSS in figures else {}
