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
    guidance_rescale: float = 0.0,
) -> Tensor:
    """u + w (c - u), where u sees no portrait (no reference, zero embedding); w = 1 is c alone, in one pass.

    Args and returns as DenoisingUNet.forward; guidance_scale is w, guidance_rescale as in `rescaled`.
    """
    conditional = denoiser(noisy_latents, timesteps, image_embeds, pose_features, reference_features)
    if guidance_scale == 1.0:
        return conditional
    unconditional = denoiser(noisy_latents, timesteps, None, pose_features, None)
    guided = unconditional + guidance_scale * (conditional - unconditional)
    return rescaled(guided, conditional, guidance_rescale)


def rescaled(guided: Tensor, conditional: Tensor, share: float) -> Tensor:
    """Guided predictions (b, f, c, h, w) whose contrast is that of the conditional ones, to a share.

    Guidance adds contrast, the more of it the less noise a schedule leaves unlearned: pictures look overexposed. Here
    each frame is scaled back to the standard deviation of its own conditional prediction (3.4 of
    https://arxiv.org/abs/2305.08891, where share is phi, 0.7 for guidance 7.5), so that a frame does not depend on
    which others are denoised with it.

    Args:
        share: 0 leaves the guided prediction as it is, 1 takes all the contrast back.
    """
    if share == 0:
        return guided
    over = (-3, -2, -1)
    factor = conditional.std(over, keepdim=True) / guided.std(over, keepdim=True).clamp_min(1e-6)
    return guided * (1 - share + share * factor)
