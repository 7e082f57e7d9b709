"""Random numbers as a function of the run's seed, the step and the sample: a resumed run draws the same."""

import zlib

from lightning import LightningModule
from torch import Generator


def step_generators(module: LightningModule, seed: int, batch_index: int, count: int) -> list[Generator]:
    """One generator for each of the `count` samples here, a function of (seed, step, position in the global batch).

    Ranks take the positions of the training order in turns (see TrainingStream), so a step's samples and their
    positions are the same however ranks, batch size and accumulation divide the global batch.
    """
    trainer = module.trainer
    first = batch_index % trainer.accumulate_grad_batches * count
    return [
        _generator(module, seed, trainer.global_step, (first + k) * trainer.world_size + module.global_rank)
        for k in range(count)
    ]


def step_generator(module: LightningModule, seed: int) -> Generator:
    """One on the CPU, the same on every rank and for every part of a global batch: what all its samples share."""
    return Generator().manual_seed(hash_of((seed, module.trainer.global_step)))


def validation_generators(module: LightningModule, seed: int, keys: list[str]) -> list[Generator]:
    """One for each clip, a function of its key: the same noise at every validation, on any number of ranks."""
    return [_generator(module, seed, -1, zlib.crc32(key.encode())) for key in keys]


def _generator(module: LightningModule, *state: int) -> Generator:
    return Generator(module.device).manual_seed(hash_of(state))


def hash_of(numbers: tuple[int, ...]) -> int:
    """A 63-bit mix of whole numbers (FNV-1a over their 64-bit words), equal on every machine."""
    mixed = 0xCBF29CE484222325
    for number in numbers:
        for byte in int(number).to_bytes(8, "little", signed=True):
            mixed = ((mixed ^ byte) * 0x100000001B3) % 2**64
    return mixed % 2**63
