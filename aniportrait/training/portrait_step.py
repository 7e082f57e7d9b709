"""What the two steps of Lmk2Video share: random numbers of each sample, dropped conditions, one diffusion loss."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from diffusers import DDIMScheduler
from lightning import LightningModule
from torch import Generator, Tensor

from aniportrait.data.schema import PortraitBatch
from aniportrait.diffusion.objective import DiffusionTerms, diffusion_loss
from aniportrait.evaluation.face_l1 import inside
from aniportrait.models.portrait_networks import Conditions, PortraitNetworks


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


def batch_conditions(networks: PortraitNetworks, batch: PortraitBatch) -> Conditions:
    """The conditions of a batch."""
    return networks.conditions(
        batch.reference_image,
        batch.reference_pose_image,
        batch.pose_image,
        None if batch.reference_latents is None else batch.reference_latents.float(),
        None if batch.image_embeds is None else batch.image_embeds.float(),
    )


def frame_latents(networks: PortraitNetworks, batch: PortraitBatch) -> Tensor:
    """(b, f, c, h/8, w/8) float32 latents of the frames: precomputed, or encoded here."""
    return (networks.encode(batch.frames) if batch.latents is None else batch.latents).float()


def drop_conditions(
    conditions: Conditions, probability: float, generators: Sequence[Generator]
) -> tuple[Conditions, Tensor]:
    """Draw per sample, each from its own generator, whether the portrait is hidden (for classifier-free guidance).

    Returns the conditions with the image embedding of hidden portraits zeroed, and `keep` (b,) bool for the reference
    features. Nothing is skipped, so every parameter takes part in every step.
    """
    embeds = conditions.image_embeds
    drawn = [torch.rand(1, generator=generator, device=generator.device) for generator in generators]
    keep = torch.cat(drawn).to(embeds.device) >= probability
    return conditions._replace(image_embeds=embeds * keep[:, None, None].to(embeds.dtype)), keep


@dataclass(frozen=True)
class ObjectiveSettings:
    """Numbers of the objective; see Stage1."""

    condition_dropout: float
    noise_offset: float
    snr_gamma: float
    face_weight: float

    def without_dropout(self) -> "ObjectiveSettings":
        return replace(self, condition_dropout=0.0)


def portrait_loss(
    networks: PortraitNetworks,
    scheduler: DDIMScheduler,
    conditions: Conditions,
    batch: PortraitBatch,
    settings: ObjectiveSettings,
    generators: list[Generator],
) -> tuple[Tensor, DiffusionTerms]:
    """The diffusion loss of a batch under its conditions, some portraits hidden; a generator for each sample."""
    conditions, keep = drop_conditions(conditions, settings.condition_dropout, generators)

    def denoiser(noisy_latents: Tensor, timesteps: Tensor) -> Tensor:
        return networks.denoising_unet(
            noisy_latents,
            timesteps,
            conditions.image_embeds,
            conditions.pose_features,
            conditions.reference_features,
            keep if settings.condition_dropout else None,
        )

    latents = networks.latent_space.encode(frame_latents(networks, batch), conditions.reference_latents)
    return diffusion_loss(
        denoiser,
        latents,
        scheduler=scheduler,
        generator=generators,
        noise_offset=settings.noise_offset,
        snr_gamma=settings.snr_gamma,
        weight=face_weights(batch.face_box, latents.shape[-2], latents.shape[-1], settings.face_weight),
    )


def face_weights(face_box: Tensor, height: int, width: int, weight: float) -> Tensor | None:
    """(b, f, 4) boxes in [0, 1] -> (b, f, 1, h, w): `weight` inside the box, 1 elsewhere; None for a weight of 1."""
    if weight == 1.0:
        return None
    return 1.0 + (weight - 1.0) * inside(face_box, height, width)[:, :, None].float()
