"""Work on clips, shared between processes of this machine."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

import torch
from lightning.fabric import Fabric
from lightning.fabric.strategies import DDPStrategy
from omegaconf import DictConfig, OmegaConf

from aniportrait.data.parent import end_with_the_parent

Share = Callable[[int, int, torch.device, DictConfig], None]
"""(rank, processes, device, config): does every n-th piece of the work and keeps what comes of it in files."""


def run_shares(share: Share, config: DictConfig) -> None:
    """Run `share` in `config.processes` processes, here if that is one; with device=cuda each has a GPU of its own.

    Each has one thread, so that what it makes does not depend on how many there are.
    """
    if config.processes < 1:
        raise ValueError(f"processes ({config.processes}) must be at least 1")
    if config.processes == 1:
        with one_thread():
            share(0, 1, torch.device(config.device), config)
        return
    if config.device not in ("cpu", "cuda"):
        raise ValueError(f"device={config.device} with processes={config.processes} must be cpu or cuda")
    config = config.copy()
    OmegaConf.resolve(config)  # ${now:} is known to this process alone
    waiting = DDPStrategy(start_method="spawn", timeout=timedelta(days=30))  # for those with longer clips
    fabric = Fabric(accelerator=config.device, devices=config.processes, strategy=waiting)
    with _environment_as_it_was():
        fabric.launch(partial(_in_process, share=share, config=config))


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums of many threads end in other digits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _environment_as_it_was() -> Iterator[None]:
    """Fabric leaves the port it met at in the environment, where the next launch would take it for its own."""
    before = os.environ.copy()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _in_process(fabric: Fabric, share: Share, config: DictConfig) -> None:
    end_with_the_parent()
    with one_thread():
        share(fabric.global_rank, fabric.world_size, fabric.device, config)
    fabric.barrier()
