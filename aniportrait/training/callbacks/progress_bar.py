"""The progress bar of a training that counts steps."""

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar


class StepProgressBar(RichProgressBar):
    """Lightning's, without the number of an epoch that never ends (it says "Epoch 0/-2") and of a version.

    Where no terminal is, it writes nothing but how it ended.

    Args: see RichProgressBar.
    """

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        figures = super().get_metrics(trainer, pl_module)
        return {name: figure for name, figure in figures.items() if name != "v_num"}

    def _get_train_description(self, current_epoch: int) -> str:
        return "Training"
