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


@dataclass(frozen=True)
class ConditionDropout:
    """Shares of samples whose portrait is hidden, wholly or in one of its two forms.

    One draw decides, so that no sample is in two shares, as in https://arxiv.org/abs/2211.09800. Landmarks are never
    hidden: sampling has no use for a denoiser without them.
    """

    portrait: float = 0.0
    image_embeds: float = 0.0
    reference_features: float = 0.0

    def __post_init__(self) -> None:
        shares = (self.portrait, self.image_embeds, self.reference_features)
        if min(shares) < 0 or sum(shares) > 1:
            raise ValueError(f"dropped shares {shares} must not be negative nor add up to more than 1")


def drop_conditions(
    conditions: Conditions, dropout: ConditionDropout, generators: Sequence[Generator]
) -> tuple[Conditions, Tensor | None]:
    """Draw per sample, each from its own generator, what of the portrait is hidden (for classifier-free guidance).

    Returns the conditions with hidden image embeddings zeroed, and `keep` (b,) bool for the reference features; None
    where all are kept: GPUs have no flash attention under a mask. Nothing is skipped, so every parameter takes part in
    every step.
    """
    embeds = conditions.image_embeds
    draw = torch.cat([torch.rand(1, generator=_on_the_host(generator)) for generator in generators])
    told = draw >= dropout.portrait + dropout.image_embeds
    alone = told & (draw < dropout.portrait + dropout.image_embeds + dropout.reference_features)
    keep = (draw >= dropout.portrait) & ~alone
    told = told[:, None, None].to(embeds, non_blocking=True)
    seen = None if keep.all() else keep.to(embeds.device, non_blocking=True)
    return conditions._replace(image_embeds=embeds * told), seen


def _on_the_host(generator: Generator) -> Generator:
    """One that draws what the host must know, which then need not wait for the device."""
    return generator if generator.device.type == "cpu" else Generator().manual_seed(generator.initial_seed())


@dataclass(frozen=True)
class ObjectiveSettings:
    """Numbers of the objective; see Stage1."""

    dropout: ConditionDropout
    noise_offset: float
    snr_gamma: float
    face_weight: float
    mouth_weight: float
    change_weight: float = 0.0

    def without_dropout(self) -> "ObjectiveSettings":
        return replace(self, dropout=ConditionDropout())


def portrait_loss(
    networks: PortraitNetworks,
    scheduler: DDIMScheduler,
    conditions: Conditions,
    batch: PortraitBatch,
    settings: ObjectiveSettings,
    generators: list[Generator],
) -> tuple[Tensor, DiffusionTerms]:
    """The diffusion loss of a batch under its conditions, some portraits hidden; a generator for each sample."""
    conditions, keep = drop_conditions(conditions, settings.dropout, generators)

    def denoiser(noisy_latents: Tensor, timesteps: Tensor) -> Tensor:
        return networks.denoising_unet(
            noisy_latents,
            timesteps,
            conditions.image_embeds,
            conditions.pose_features,
            conditions.reference_features,
            keep,
        )

    latents = networks.latent_space.encode(frame_latents(networks, batch), conditions.reference_latents)
    return diffusion_loss(
        denoiser,
        latents,
        scheduler=scheduler,
        generator=generators,
        noise_offset=settings.noise_offset,
        snr_gamma=settings.snr_gamma,
        weight=pixel_weights(batch, latents.shape[-2], latents.shape[-1], settings),
        change_weight=settings.change_weight,
    )


def pixel_weights(
    batch: PortraitBatch, height: int, width: int, settings: ObjectiveSettings
) -> Tensor | None:
    """(b, f, 1, h, w): face_weight in the face's box, mouth_weight times that in the mouth's, 1 elsewhere.

    Of a latent pixel that the mouth's box covers in part, the part counts: a mouth may be smaller than one. None where
    all weigh the same.
    """
    weight = None
    if settings.face_weight != 1.0:
        weight = 1.0 + (settings.face_weight - 1.0) * inside(batch.face_box, height, width).float()
    if settings.mouth_weight != 1.0:
        of_mouth = 1.0 + (settings.mouth_weight - 1.0) * covered(batch.mouth_box, height, width)
        weight = of_mouth if weight is None else weight * of_mouth
    return None if weight is None else weight[:, :, None]


def covered(box: Tensor, height: int, width: int) -> Tensor:
    """(..., 4) x0, y0, x1, y1 in [0, 1] -> (..., h, w) in [0, 1]: the part of each pixel that lies in the box."""
    x0, y0, x1, y1 = box[..., None].unbind(dim=-2)

    def along(begin: Tensor, end: Tensor, count: int) -> Tensor:
        edge = torch.arange(count, device=box.device)
        return ((end * count).minimum(edge + 1) - (begin * count).maximum(edge)).clamp_min(0)

    return along(y0, y1, height)[..., :, None] * along(x0, x1, width)[..., None, :]
