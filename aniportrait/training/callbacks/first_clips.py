"""The first clips of a validation, whatever the size of its batches."""

from typing import Any

import torch
from torch import Tensor

from aniportrait.data.schema import PortraitBatch


class FirstClips:
    """Remembers clips over the batches of a validation: one of a clip is enough to have several.

    Args:
        count: at most so many of this rank; the last batches fill up to it, those behind are not looked at.
    """

    def __init__(self, count: int):
        if count < 1:
            raise ValueError(f"clips ({count}) must be at least 1")
        self.count = count
        self._parts: list[PortraitBatch] = []

    def add(self, batch: PortraitBatch, batch_idx: int) -> None:
        """A batch of the validation; the first begins anew. What only fills a batch up is left out."""
        if batch_idx == 0:
            self._parts = []
        missing = self.count - sum(len(part.keys) for part in self._parts)
        if missing > 0:
            kept = batch.only_counted().first(missing)
            self._parts += [kept] if kept.keys else []

    def taken(self) -> PortraitBatch | None:
        """All of them in one batch, which are then forgotten; None where this rank had none."""
        parts, self._parts = self._parts, []
        if len(parts) < 2:
            return parts[0] if parts else None
        return PortraitBatch._make(_joined(field) for field in zip(*parts, strict=True))


def _joined(fields: tuple[Any, ...]) -> Any:
    if isinstance(fields[0], Tensor):
        return torch.cat(fields)
    return None if fields[0] is None else [key for keys in fields for key in keys]
