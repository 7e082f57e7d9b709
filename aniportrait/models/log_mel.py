"""Log-mel energies of a sound, and what is made of them for training."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

SAMPLE_RATE = 16_000
HOP = 160
WINDOW = 400
FFT = 512
MEL_BINS = 40
LOG_FLOOR = 1e-6
"""Added to mel energies before the logarithm: about -60 dB of a full-scale tone, below room noise."""
AUDIBLE = -6.9
"""Natural logarithm of energy, against the loud steps' (95th percentile): -30 dB."""
PIECE = 3000
"""Mel steps whose spectrum is held at once."""


def log_mel(audio: Tensor) -> Tensor:
    """Natural-log mel energies: 25 ms Hann windows every 10 ms, 40 triangular bands from 20 Hz to 8 kHz.

    Args:
        audio: (b, n) at 16 kHz in [-1, 1].
    Returns:
        (b, ceil(n / 160), 40); step k is centred on sample 160 k.
    """
    steps = max(1, -(-audio.shape[-1] // HOP))
    audio = F.pad(audio, (FFT // 2, steps * HOP - audio.shape[-1] + FFT // 2)).float()
    with torch.autocast(audio.device.type, enabled=False):  # energies of loud sound are beyond float16
        pieces = [
            _log_mel_piece(audio[..., first * HOP : (min(first + PIECE, steps) - 1) * HOP + FFT])
            for first in range(0, steps, PIECE)
        ]
    return torch.cat(pieces, dim=1)


def _log_mel_piece(audio: Tensor) -> Tensor:
    spectrum = torch.stft(
        audio,
        FFT,
        hop_length=HOP,
        win_length=WINDOW,
        window=torch.hann_window(WINDOW, device=audio.device),
        center=False,
        return_complex=True,
    )
    energy = torch.einsum("m q, b q t -> b t m", _mel_filters().to(audio.device), spectrum.abs().square())
    return torch.log(energy / (WINDOW / 4) + LOG_FLOOR)


def normalised_log_mel(audio: Tensor) -> Tensor:
    """log_mel less each band's mean over the clip, over one standard deviation per clip; zeros for silence.

    Mean and deviation are of the steps at which something is heard: pauses do not change what is said between them.

    Args:
        audio: (b, n) at 16 kHz.
    Returns:
        (b, ceil(n / 160), 40).
    """
    level = audio.square().mean(dim=-1, keepdim=True).sqrt().clamp_min(1e-4)
    mel = log_mel(audio * (0.1 / level))
    heard = _heard(mel)
    mel = mel - (mel * heard).mean(dim=1, keepdim=True)
    return mel / (mel.square() * heard).mean(dim=(1, 2), keepdim=True).sqrt().clamp_min(0.5)


def _heard(mel: Tensor) -> Tensor:
    """(b, t, 1) weights of mean 1 on the steps that are not AUDIBLE below the loud ones."""
    loudness = mel.logsumexp(dim=2, keepdim=True)
    heard = (loudness >= loudness.quantile(0.95, dim=1, keepdim=True) + AUDIBLE).to(mel.dtype)
    return heard / heard.mean(dim=1, keepdim=True)


def frame_features(mel: Tensor, frames: int, context: int = 9) -> Tensor:
    """Mel energies averaged over each video frame, with the neighbouring frames beside them.

    Args:
        mel: (b, t, c).
        frames: video frames the t steps span.
        context: frames seen at once, odd; the clip's ends are repeated outwards.
    Returns:
        (b, frames, context * c), oldest frame first.
    """
    if context % 2 == 0:
        raise ValueError(f"context ({context}) must be odd: as many frames before as after")
    pooled = F.adaptive_avg_pool1d(rearrange(mel, "b t c -> b c t"), frames)
    padded = F.pad(pooled, (context // 2, context // 2), mode="replicate")
    return rearrange(padded.unfold(2, context, 1), "b c f k -> b f (k c)")


def warped_mel_axis(mel: Tensor, warp: float, shift: float) -> Tensor:
    """Stretches and shifts each clip's mel axis at random, as another length of vocal tract would.

    Args:
        mel: (b, t, c).
        warp: largest stretch, as a fraction.
        shift: largest shift, in bins.
    Returns:
        the same shape; bands from beyond the ends repeat the end.
    """
    bins = mel.shape[-1]
    stretch, offset = torch.rand(2, mel.shape[0], 1, device=mel.device) * 2 - 1
    source = torch.arange(bins, device=mel.device) * (1 + warp * stretch) + shift * offset
    low = source.clamp(0, bins - 1).floor().long().clamp_max(bins - 2)
    weight = (source.clamp(0, bins - 1) - low)[:, None].to(mel.dtype)
    index = low[:, None].expand(-1, mel.shape[1], -1)
    return torch.lerp(mel.gather(2, index), mel.gather(2, index + 1), weight)


def random_span(like: Tensor, size: int, longest: int) -> Tensor:
    """One contiguous span of at most `longest` of `size` places for each of the batch: (b, size) bool."""
    length, start = torch.rand(2, like.shape[0], 1, device=like.device)
    length = (length * (min(longest, size) + 1)).floor()
    start = (start * (size - length + 1)).floor()
    places = torch.arange(size, device=like.device)
    return (places >= start) & (places < start + length)


@lru_cache(maxsize=1)
def _mel_filters() -> Tensor:
    """(MEL_BINS, FFT / 2 + 1) triangles, evenly spaced on the mel scale of O'Shaughnessy (1987)."""
    top = 2595 * torch.log10(1 + torch.tensor(SAMPLE_RATE / 2 / 700, dtype=torch.float64))
    bottom = 2595 * torch.log10(1 + torch.tensor(20 / 700, dtype=torch.float64))
    corners = 700 * (10 ** (torch.linspace(float(bottom), float(top), MEL_BINS + 2) / 2595) - 1)
    hertz = torch.linspace(0, SAMPLE_RATE / 2, FFT // 2 + 1)
    rising = (hertz - corners[:-2, None]) / (corners[1:-1] - corners[:-2])[:, None]
    falling = (corners[2:, None] - hertz) / (corners[2:] - corners[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp_min(0).float()
