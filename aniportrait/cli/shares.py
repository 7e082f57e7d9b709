"""Work on clips, shared between processes of this machine."""

from collections.abc import Callable
from functools import partial

import torch
from lightning.fabric import Fabric
from omegaconf import DictConfig

Share = Callable[[int, int, torch.device, DictConfig], None]
"""(rank, processes, device, config): does every n-th piece of the work and keeps what comes of it in files."""


def run_shares(share: Share, config: DictConfig) -> None:
    """Run `share` in `config.processes` processes, here if that is one; with device=cuda each has a GPU of its own."""
    if config.processes < 1:
        raise ValueError(f"processes ({config.processes}) must be at least 1")
    if config.processes == 1:
        share(0, 1, torch.device(config.device), config)
        return
    fabric = Fabric(accelerator=config.device, devices=config.processes, strategy="ddp_spawn")
    fabric.launch(partial(_in_process, share=share, config=config))


def _in_process(fabric: Fabric, share: Share, config: DictConfig) -> None:
    share(fabric.global_rank, fabric.world_size, fabric.device, config)
    fabric.barrier()
