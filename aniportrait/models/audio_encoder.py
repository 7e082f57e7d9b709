"""Sound -> one feature vector per video frame."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from transformers import Wav2Vec2Config, Wav2Vec2Model

from aniportrait.models.log_mel import (
    HOP,
    MEL_BINS,
    SAMPLE_RATE,
    normalised_log_mel,
    random_span,
    warped_mel_axis,
)
from aniportrait.models.pretrained import from_folder_or_hub, plain
from aniportrait.models.sound_windows import encoded_in_windows

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
TRAINING = (
    "feat_proj_dropout",
    "hidden_dropout",
    "attention_dropout",
    "activation_dropout",
    "mask_time_prob",
    "mask_time_length",
)
"""Numbers of its training, the library's own whatever a file says: a resumed run has no file to look into."""
PIECE = 3000
"""Steps of 20 ms that log-mel energies are encoded at once: a minute."""
SHORTEST = 400
"""Samples of which its front-end makes one feature."""


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
        audio = F.pad(audio, (0, max(0, SHORTEST - audio.shape[-1])))
        features = self.model.feature_extractor(audio)
        features = F.interpolate(features, size=frames, mode="linear", align_corners=True)
        hidden, _ = self.model.feature_projection(rearrange(features, "b c f -> b f c"))
        if self.training and frames > self.model.config.mask_time_length:
            hidden = self.model._mask_hidden_states(hidden)
        return self.model.encoder(hidden).last_hidden_state


def _pretrained(path: str | Path) -> Wav2Vec2Model:
    model = from_folder_or_hub(
        Wav2Vec2Model,
        path,
        "audio_encoder.path",
        "facebook/wav2vec2-base-960h (config.json and its weights)",
        may_lack=(
            "masked_spec_embed",
        ),  # what masked moments become in training; never stored with base-960h
        may_add=("lm_head.", "project_", "quantizer."),  # heads of speech recognition and of pre-training
        **{name: getattr(Wav2Vec2Config(), name) for name in TRAINING},
    )
    if model.config.feat_extract_norm != "group" or model.config.do_stable_layer_norm:
        raise ValueError(
            f"audio_encoder.path={path} must be of wav2vec2's base layout: feat_extract_norm "
            f'"{model.config.feat_extract_norm}" must be "group" and do_stable_layer_norm false'
        )
    return model.float()  # whatever the file holds: half of its steps would be rounded away


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
        self.reach = 2 + sum(2 * 2**i for i in range(layers))

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
        mel = F.pad(mel, (0, 0, 0, mel.shape[1] % 2))
        steps = mel.shape[1] // 2
        pieces = [self._hidden(mel, first, min(first + PIECE, steps)) for first in range(0, steps, PIECE)]
        return at_video_rate(torch.cat(pieces, dim=1), frames)

    def _hidden(self, mel: Tensor, first: int, last: int) -> Tensor:
        """(b, last - first, width) at 50 Hz of mel (b, t, c) at 100 Hz; what is around a piece is heard with it."""
        begin = max(0, first - self.reach)
        heard = mel[:, 2 * begin : 2 * (last + self.reach)]
        hidden = rearrange(self.input(rearrange(heard, "b t c -> b c t")), "b c t -> b t c")
        for block in self.blocks:
            hidden = block(hidden)
        return self.norm(hidden[:, first - begin : last - begin])

    def _augmented(self, mel: Tensor) -> Tensor:
        mel = warped_mel_axis(mel, self.warp, self.shift)
        mel = mel + self.noise * torch.randn_like(mel)
        mel = mel.masked_fill(random_span(mel, MEL_BINS, self.mask_bins)[:, None, :], 0.0)
        return mel.masked_fill(random_span(mel, mel.shape[1], self.mask_steps)[:, :, None], 0.0)


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


def at_video_rate(features: Tensor, frames: int) -> Tensor:
    """Linear interpolation in time: (b, t, c) -> (b, frames, c), both spanning the same seconds."""
    features = rearrange(features, "b t c -> b c t")
    return rearrange(F.interpolate(features, size=frames, mode="linear"), "b c f -> b f c")


def sampled(features: Tensor, places: Tensor) -> Tensor:
    """Linear interpolation of (b, t, c) at places (f,) counted in steps; the ends are repeated. -> (b, f, c)."""
    places = places.clamp(0, features.shape[1] - 1)
    low = places.floor().long().clamp_max(max(0, features.shape[1] - 2))
    high = (low + 1).clamp_max(features.shape[1] - 1)
    return torch.lerp(features[:, low], features[:, high], (places - low)[:, None].to(features))
