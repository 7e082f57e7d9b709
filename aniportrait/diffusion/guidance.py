"""Classifier-free guidance (https://arxiv.org/abs/2207.12598) by the portrait; the landmarks always stay."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from aniportrait.diffusion.pose_track import PoseTrack
from aniportrait.models.reference_attention import FirstHalf


class GuidedDenoiser:
    """What a denoiser says of any frames of a video under one portrait, with guidance.

    Args:
        denoiser: called as DenoisingUNet is; what it makes of the portrait is `projected` once, for all calls.
        pose_features: a track that is asked for each window, or all frames' features, (b, f, c, h, w) each.
        image_embeds: (b, 1, d); its device and dtype are the denoiser's.
        reference_features: name -> (b, l, c).
        guidance_scale: w in u + w (c - u); 1.0 is off and costs half.
        guidance_rescale: share of the contrast that guidance adds to be taken back, 0 to 1; see `rescaled`.
        guidance_interval: from and to which time of the schedule, 0 (clean) to 1 (noise), there is guidance; outside it
            costs nothing. It does its work in the middle (https://arxiv.org/abs/2404.07724).
        last_timestep: what 1 is in the schedule.
    """

    def __init__(
        self,
        denoiser: Any,
        *,
        pose_features: PoseTrack | Sequence[Tensor] | None,
        image_embeds: Tensor,
        reference_features: dict[str, Tensor] | None,
        guidance_scale: float = 1.0,
        guidance_rescale: float = 0.0,
        guidance_interval: tuple[float, float] = (0.0, 1.0),
        last_timestep: int = 1000,
    ):
        begin, end = guidance_interval
        if not 0 <= begin < end <= 1:
            raise ValueError(f"guidance_interval ({begin}, {end}) must rise within 0 to 1")
        self._denoiser, self._pose_features, self._embeds = denoiser, pose_features, image_embeds
        self._scale, self._rescale = guidance_scale, guidance_rescale
        self._interval = begin * last_timestep, end * last_timestep
        self._answers, self._portrait = denoiser.projected(image_embeds, reference_features)
        null = torch.zeros_like(image_embeds)
        self._both_answers, _ = denoiser.projected(torch.cat([image_embeds, null]), None)
        self._first_half = None
        if self._portrait is not None:
            self._first_half = {name: FirstHalf(portrait) for name, portrait in self._portrait.items()}

    def __call__(self, noisy_latents: Tensor, timestep: int, frames: Tensor) -> Tensor:
        """Latents (b, n, c, h, w) of frames (n,) at a time of the schedule -> u + w (c - u), float32.

        c is told of the portrait, u is not (no reference, zero embedding); both are asked for as one batch.
        """
        noisy_latents, pose = noisy_latents.to(self._embeds.dtype), self._pose_of(frames)
        timesteps = self._embeds.new_full((len(noisy_latents),), timestep, dtype=torch.long)
        if self._scale == 1.0 or not self._interval[0] <= timestep < self._interval[1]:
            return self._denoiser(noisy_latents, timesteps, self._answers, pose, self._portrait).float()
        both = self._denoiser(
            _twice(noisy_latents),
            _twice(timesteps),
            self._both_answers,
            None if pose is None else tuple(map(_twice, pose)),
            self._first_half,
        )
        conditional, unconditional = both.chunk(2)
        guided = unconditional + self._scale * (conditional - unconditional)
        return rescaled(guided, conditional, self._rescale).float()

    def _pose_of(self, frames: Tensor) -> tuple[Tensor, ...] | None:
        """The features (b, n, c, h, w) of a window's frames (n,)."""
        if self._pose_features is None:
            return None
        if isinstance(self._pose_features, PoseTrack):
            return self._pose_features(frames)
        return tuple(feature[:, frames.to(feature.device)] for feature in self._pose_features)


def _twice(tensor: Tensor) -> Tensor:
    return torch.cat([tensor, tensor])


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
