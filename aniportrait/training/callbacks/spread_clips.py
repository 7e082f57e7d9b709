"""A few clips from all over a validation, whatever the size of its batches."""

from collections.abc import Sequence
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from aniportrait.data.schema import PortraitBatch


class SpreadClips(Callback):
    """Remembers clips, the same at every validation, in equal distances: neighbours are often of one person.

    Args:
        clips: at most so many of this rank.
    """

    def __init__(self, clips: int):
        if clips < 1:
            raise ValueError(f"clips ({clips}) must be at least 1")
        self.clips = clips
        self._parts: list[PortraitBatch] = []

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: PortraitBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """The first batch begins anew. What only fills a batch up is left out."""
        if batch_idx == 0:
            self._parts = []
        batches = int(trainer.num_val_batches[0])
        missing = self.clips * (batch_idx + 1) // batches - sum(len(part.keys) for part in self._parts)
        batch = batch.only_counted()
        chosen = [k * len(batch.keys) // missing for k in range(missing)]
        if batch.keys and chosen:
            self._parts.append(_at(batch, sorted(set(chosen))))

    def taken(self) -> PortraitBatch | None:
        """All of them in one batch, which are then forgotten; None where this rank had none."""
        parts, self._parts = self._parts, []
        if len(parts) < 2:
            return parts[0] if parts else None
        return PortraitBatch._make(_joined(field) for field in zip(*parts, strict=True))


def _at(batch: PortraitBatch, places: Sequence[int]) -> PortraitBatch:
    fields = {name: field[places] for name, field in batch._asdict().items() if isinstance(field, Tensor)}
    return batch._replace(**fields, keys=[batch.keys[k] for k in places])


def _joined(fields: tuple[Any, ...]) -> Any:
    if isinstance(fields[0], Tensor):
        return torch.cat(fields)
    return None if fields[0] is None else [key for keys in fields for key in keys]
