"""The most memory that a training has taken so far."""

import resource
import sys
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

GIB = 2**30


class PeakMemory(Callback):
    """At the logging interval logs the peak since the process began, of rank 0, in GiB.

    On CUDA `memory/peak_allocated_gib`, what tensors took on the device, validation included; elsewhere
    `memory/peak_resident_gib`, the whole process with its libraries and kept clips, without its loading processes.
    """

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            name, size = peak_memory(pl_module.device)
            pl_module.log(f"memory/{name}_gib", size / GIB, batch_size=1)


def peak_memory(device: torch.device) -> tuple[str, int]:
    """What is measured on this device, and how much, bytes."""
    if device.type == "cuda":
        return "peak_allocated", torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return "peak_resident", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
