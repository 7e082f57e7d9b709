"""Every checkpoint says what it is."""

from typing import Any

from lightning import Callback, LightningModule, Trainer


class ModelCard(Callback):
    """Adds a json text under `key` to each checkpoint, so that its networks can be built again without unpickling.

    Args:
        key: where the checkpoint carries it.
        text: the card as json.
    """

    def __init__(self, key: str, text: str):
        self._key = key
        self._text = text

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint[self._key] = self._text
