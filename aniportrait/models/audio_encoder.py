"""Sound -> one feature vector per video frame."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from transformers import Wav2Vec2Config, Wav2Vec2Model

from aniportrait.models.pretrained import from_folder_or_hub, plain
from aniportrait.models.sound_windows import encoded_in_windows

SAMPLE_RATE = 16_000
HOP = 160
WINDOW = 400
FFT = 512
MEL_BINS = 40
LOG_FLOOR = 1e-6
"""Added to mel energies before the logarithm: about -60 dB of a full-scale tone, below room noise."""
PIECE = 3000
"""Mel steps whose spectrum is held at once."""


WAV2VEC2_SIZES = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "conv_dim",
    "conv_kernel",
    "conv_stride",
    "conv_bias",
    "num_conv_pos_embeddings",
    "num_conv_pos_embedding_groups",
    "layer_norm_eps",
)
"""The numbers of wav2vec2's base layout."""


class Wav2Vec2Encoder(nn.Module):
    """wav2vec 2.0 at the video's frame rate (arXiv 2006.11477), as AniPortrait runs it.

    The convolutional front-end's 50 Hz states are interpolated to the video frames *before* the transformer.
    The front-end is frozen, the rest trains. SpecAugment (transformers' own) acts in training mode only.

    Args:
        path: folder or hub name of the pretrained weights.
        config: sizes of a randomly initialised model instead; `path` is then ignored.
        freeze_all: freeze the transformer too (small data sets).
        window_seconds: longest sound encoded at once; longer ones go in overlapping windows.
        overlap_seconds: what neighbouring windows share at least.
    """

    def __init__(
        self,
        path: str | Path = "facebook/wav2vec2-base-960h",
        config: Wav2Vec2Config | Mapping[str, Any] | None = None,
        freeze_all: bool = False,
        window_seconds: float = 30.0,
        overlap_seconds: float = 4.0,
    ):
        super().__init__()
        self.window, self.overlap = (round(s * SAMPLE_RATE) for s in (window_seconds, overlap_seconds))
        if config is None:
            self.model = _pretrained(path)
        else:
            self.model = Wav2Vec2Model(
                config if isinstance(config, Wav2Vec2Config) else Wav2Vec2Config(**dict(config))
            )
        # A skipped layer gets no gradient, which DDP takes for an error.
        self.model.config.layerdrop = 0.0
        self.model.freeze_feature_encoder()
        if freeze_all:
            self.model.requires_grad_(False)

    @property
    def width(self) -> int:
        return self.model.config.hidden_size

    @property
    def sizes(self) -> dict[str, Any]:
        """The `config` that builds it again, for other weights."""
        return {name: plain(getattr(self.model.config, name)) for name in WAV2VEC2_SIZES}

    def forward(self, audio: Tensor, frames: int) -> Tensor:
        """Args: audio (b, n) at 16 kHz, any level; video frames it spans. Returns (b, frames, width)."""
        return encoded_in_windows(self.encode, self.normalised(audio), frames, self.window, self.overlap)

    def normalised(self, audio: Tensor) -> Tensor:
        """Audio (b, n) at zero mean and unit variance, which is how `encode` takes it."""
        return zero_mean_unit_variance(audio)

    def encode(self, audio: Tensor, frames: int) -> Tensor:
        """As forward, in one pass, for `normalised` audio (b, n) or a part of it."""
        audio = F.pad(audio, (0, max(0, WINDOW - audio.shape[-1])))
        features = self.model.feature_extractor(audio)
        features = F.interpolate(features, size=frames, mode="linear", align_corners=True)
        hidden, _ = self.model.feature_projection(rearrange(features, "b c f -> b f c"))
        if self.training and frames > self.model.config.mask_time_length:
            hidden = self.model._mask_hidden_states(hidden)
        return self.model.encoder(hidden).last_hidden_state


def _pretrained(path: str | Path) -> Wav2Vec2Model:
    return from_folder_or_hub(
        Wav2Vec2Model,
        path,
        "audio_encoder.path",
        "facebook/wav2vec2-base-960h (config.json and its weights)",
        may_lack=(
            "masked_spec_embed",
        ),  # what masked moments become in training; never stored with base-960h
        may_add=("lm_head.", "project_", "quantizer."),  # heads of speech recognition and of pre-training
    )


def zero_mean_unit_variance(audio: Tensor) -> Tensor:
    """Audio (b, n) normalised per clip, as wav2vec 2.0's feature extractor does by default."""
    variance, mean = torch.var_mean(audio, dim=-1, keepdim=True, correction=0)
    return (audio - mean) / torch.sqrt(variance + 1e-7)


class LogMelEncoder(nn.Module):
    """Log-mel energies through a small temporal convolution: no weights to download, fast on a CPU.

    In training mode it augments what it hears: a random warp and shift of the mel axis (another vocal tract),
    masked bands and masked moments. Silence, and clips of a tenth of a second, give finite features.

    Args:
        width: of the features.
        layers: temporal blocks at 50 Hz, each seeing twice as far as the one before.
        dropout: inside every block.
        warp: largest stretch of the mel axis, as a fraction.
        shift: largest shift of the mel axis, in bins.
        mask_bins: most mel bins masked at once.
        mask_seconds: longest moment masked.
        noise: standard deviation of the noise added to the normalised log-mel energies.
    """

    def __init__(
        self,
        width: int = 128,
        layers: int = 2,
        dropout: float = 0.1,
        warp: float = 0.05,
        shift: float = 0.5,
        mask_bins: int = 3,
        mask_seconds: float = 0.05,
        noise: float = 0.1,
    ):
        super().__init__()
        self.width = width
        self.warp, self.shift, self.noise = warp, shift, noise
        self.mask_bins = mask_bins
        self.mask_steps = round(mask_seconds * SAMPLE_RATE / HOP)
        self.input = nn.Conv1d(MEL_BINS, width, kernel_size=6, stride=2, padding=2)
        self.blocks = nn.ModuleList(TemporalBlock(width, 5, 2**i, dropout) for i in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, audio: Tensor, frames: int) -> Tensor:
        """Args: audio (b, n) at 16 kHz; frames: video frames it spans. Returns (b, frames, width)."""
        return self.encode(audio, frames)

    def normalised(self, audio: Tensor) -> Tensor:
        """Audio (b, n) as it is: the level is taken out of the energies."""
        return audio

    def encode(self, audio: Tensor, frames: int) -> Tensor:
        """As forward."""
        mel = normalised_log_mel(audio)
        if self.training:
            mel = self._augmented(mel)
        mel = F.pad(rearrange(mel, "b t c -> b c t"), (0, mel.shape[1] % 2))
        hidden = rearrange(self.input(mel), "b c t -> b t c")
        for block in self.blocks:
            hidden = block(hidden)
        return at_video_rate(self.norm(hidden), frames)

    def _augmented(self, mel: Tensor) -> Tensor:
        mel = warped_mel_axis(mel, self.warp, self.shift)
        mel = mel + self.noise * torch.randn_like(mel)
        mel = mel.masked_fill(_random_span(mel, MEL_BINS, self.mask_bins)[:, None, :], 0.0)
        return mel.masked_fill(_random_span(mel, mel.shape[1], self.mask_steps)[:, :, None], 0.0)


class TemporalBlock(nn.Module):
    """Pre-norm residual block over time; normalised per frame, so that a clip's length changes nothing.

    Args:
        width: channels.
        kernel: frames the depth-mixing convolution sees.
        dilation: between them.
        dropout: after the activation.
    """

    def __init__(self, width: int, kernel: int, dilation: int, dropout: float):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.temporal = nn.Conv1d(
            width, width, kernel, dilation=dilation, padding=dilation * (kernel - 1) // 2
        )
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(width, width)

    def forward(self, hidden: Tensor) -> Tensor:
        """Args: hidden (b, t, width). Returns the same shape."""
        residual = rearrange(self.norm(hidden), "b t c -> b c t")
        residual = rearrange(F.gelu(self.temporal(residual)), "b c t -> b t c")
        return hidden + self.output(self.dropout(residual))


def log_mel(audio: Tensor) -> Tensor:
    """Natural-log mel energies: 25 ms Hann windows every 10 ms, 40 triangular bands from 20 Hz to 8 kHz.

    Args:
        audio: (b, n) at 16 kHz in [-1, 1].
    Returns:
        (b, ceil(n / 160), 40); step k is centred on sample 160 k.
    """
    steps = max(1, -(-audio.shape[-1] // HOP))
    audio = F.pad(audio, (FFT // 2, steps * HOP - audio.shape[-1] + FFT // 2)).float()
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

    Args:
        audio: (b, n) at 16 kHz.
    Returns:
        (b, ceil(n / 160), 40).
    """
    level = audio.square().mean(dim=-1, keepdim=True).sqrt().clamp_min(1e-4)
    mel = log_mel(audio * (0.1 / level))
    mel = mel - mel.mean(dim=1, keepdim=True)
    return mel / mel.square().mean(dim=(1, 2), keepdim=True).sqrt().clamp_min(0.5)


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


def at_video_rate(features: Tensor, frames: int) -> Tensor:
    """Linear interpolation in time: (b, t, c) -> (b, frames, c), both spanning the same seconds."""
    features = rearrange(features, "b t c -> b c t")
    return rearrange(F.interpolate(features, size=frames, mode="linear"), "b c f -> b f c")


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


def _random_span(like: Tensor, size: int, longest: int) -> Tensor:
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
