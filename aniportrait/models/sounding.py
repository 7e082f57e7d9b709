"""When a sound can be heard: mouths rest in silence, and in what is too quiet to be speech."""

import torch
import torch.nn.functional as F
from torch import Tensor

from aniportrait.models.log_mel import SAMPLE_RATE

QUIETEST = 3e-3
"""Root mean square of a frame, -50 dB of full scale, below which no speech is taken to be in it."""
FAINTEST = 0.03
"""The same in parts of the sound's loud frames (their 95th percentile): -30 dB."""
SOFTNESS = 6.0
"""Decibels above and below that limit over which a frame fades in."""
REACH = 0.4
"""Seconds for which lips move before a sound and after it: people breathe in through the mouth before they speak."""
FADE = 0.4
"""Seconds over which they do."""


def sounding(audio: Tensor, frames: int) -> Tensor:
    """How much of its movement each frame has, 0 (in silence) to 1.

    Args:
        audio: (b, n) at 16 kHz in [-1, 1].
        frames: video frames it spans.
    Returns:
        (b, frames).
    """
    loudness = F.adaptive_avg_pool1d(audio.float().square()[:, None], frames)[:, 0].sqrt()
    limit = (FAINTEST * loudness.quantile(0.95, dim=1, keepdim=True)).clamp_min(QUIETEST)
    decibels = 20 * torch.log10((loudness / limit).clamp_min(1e-6))
    heard = ((decibels + SOFTNESS) / (2 * SOFTNESS)).clamp(0, 1)
    rate = frames * SAMPLE_RATE / audio.shape[-1]
    reach, fade = round(REACH * rate), round(FADE / 2 * rate)
    heard = F.max_pool1d(heard[:, None], 2 * reach + 1, stride=1, padding=reach)
    padded = F.pad(heard, (fade, fade), mode="replicate")
    return F.avg_pool1d(padded, 2 * fade + 1, stride=1)[:, 0]
