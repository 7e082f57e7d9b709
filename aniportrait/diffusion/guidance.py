"""Classifier-free guidance (https://arxiv.org/abs/2207.12598) by the portrait; the landmarks always stay."""

from collections.abc import Sequence

from torch import Tensor, nn

from aniportrait.models.reference_attention import ReferenceFeatures


def guided_prediction(
    denoiser: nn.Module,
    noisy_latents: Tensor,
    timesteps: Tensor,
    *,
    image_embeds: Tensor | dict[str, Tensor],
    pose_features: Sequence[Tensor] | None,
    reference_features: ReferenceFeatures | None,
    guidance_scale: float,
) -> Tensor:
    """u + w (c - u), where u sees no portrait (no reference, zero embedding); w = 1 is c alone, in one pass.

    Args and returns as DenoisingUNet.forward; guidance_scale is w.
    """
    conditional = denoiser(noisy_latents, timesteps, image_embeds, pose_features, reference_features)
    if guidance_scale == 1.0:
        return conditional
    unconditional = denoiser(noisy_latents, timesteps, None, pose_features, None)
    return unconditional + guidance_scale * (conditional - unconditional)
