"""What the two steps of Lmk2Video share: dropped conditions, one diffusion loss."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from diffusers import DDIMScheduler
from torch import Generator, Tensor

from aniportrait.data.schema import PortraitBatch
from aniportrait.diffusion.objective import DiffusionTerms, diffusion_loss
from aniportrait.evaluation.face_l1 import inside
from aniportrait.models.portrait_networks import Conditions, PortraitNetworks


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
