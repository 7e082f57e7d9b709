"""What the two steps of Lmk2Video share: random numbers that differ by rank, dropped conditions, one diffusion loss."""

import torch
from lightning import LightningModule
from torch import Generator, Tensor

from aniportrait.data.schema import PortraitBatch
from aniportrait.models.portrait_networks import Conditions, PortraitNetworks


def step_generator(module: LightningModule, seed: int, batch_index: int) -> Generator:
    """A generator that is a function of (seed, step, micro-batch, rank): resume repeats it, ranks differ."""
    accumulated = batch_index % module.trainer.accumulate_grad_batches
    state = (seed, int(module.global_step), accumulated, module.global_rank)
    return Generator(module.device).manual_seed(hash_of(state))


def hash_of(numbers: tuple[int, ...]) -> int:
    """A 63-bit mix of whole numbers (FNV-1a over their 64-bit words), equal on every machine."""
    mixed = 0xCBF29CE484222325
    for number in numbers:
        for byte in int(number).to_bytes(8, "little", signed=True):
            mixed = ((mixed ^ byte) * 0x100000001B3) % 2**64
    return mixed % 2**63


def batch_conditions(networks: PortraitNetworks, batch: PortraitBatch) -> Conditions:
    """The conditions of a batch."""
    return networks.conditions(batch.reference_image, batch.reference_pose_image, batch.pose_image)


def drop_conditions(
    conditions: Conditions, probability: float, generator: Generator
) -> tuple[Conditions, Tensor]:
    """Draw per sample whether the portrait is hidden (for classifier-free guidance).

    Returns the conditions with the image embedding of hidden portraits zeroed, and `keep` (b,) bool for the reference
    features. Nothing is skipped, so every parameter takes part in every step.
    """
    embeds = conditions.image_embeds
    keep = torch.rand(len(embeds), generator=generator, device=embeds.device) >= probability
    return conditions._replace(image_embeds=embeds * keep[:, None, None].to(embeds.dtype)), keep
