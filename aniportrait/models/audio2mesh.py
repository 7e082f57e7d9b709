"""Speech -> how far each vertex of the face mesh lies from its place at rest."""

import torch
from torch import Tensor, nn

from aniportrait.models.audio_encoder import TemporalBlock
from aniportrait.models.sounding import sounding

VERTICES = 468


class Audio2Mesh(nn.Module):
    """A sound encoder and a head that turns its features into vertex offsets.

    Args:
        encoder: (audio (b, n), frames) -> (b, frames, encoder.width).
        head: (b, f, encoder.width) -> (b, f, 468, 3). With `rests_in_silence` its offsets fade where nothing is heard:
            features are of sound made equally loud, which tells silence from no average speech.
    """

    def __init__(self, encoder: nn.Module, head: nn.Module):
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, audio: Tensor, frames: int) -> Tensor:
        """Cm from the neutral mesh, (b, frames, 468, 3), of audio (b, n) at 16 kHz that spans `frames`."""
        features = self.encoder(audio, frames).float()
        # In bfloat16 a cm is told to 0.04 mm, and lips move less from frame to frame.
        with torch.autocast(audio.device.type, enabled=False):
            offsets = self.head(features)
        return offsets * sounding(audio, frames)[..., None, None] if self.head.rests_in_silence else offsets


class PublishedHead(nn.Module):
    """AniPortrait's head: two linear maps with nothing between, starting at "no motion".

    Args:
        in_width: of the audio features.
        latent_dim: rank of the map.
    """

    rests_in_silence = False
    reach = 0  # frames on each side that a frame depends on

    def __init__(self, in_width: int = 768, latent_dim: int = 512):
        super().__init__()
        self.input = nn.Linear(in_width, latent_dim)
        self.output = _zero_initialised(nn.Linear(latent_dim, VERTICES * 3))

    def forward(self, features: Tensor) -> Tensor:
        """Args: features (b, f, in_width). Returns offsets (b, f, 468, 3), cm."""
        return self.output(self.input(features)).unflatten(-1, (VERTICES, 3))


class TemporalHead(nn.Module):
    """Dilated convolutions over the frames, then a low-rank basis of mesh offsets; starts at "no motion".

    Args:
        in_width: of the audio features.
        width: channels of the convolutions.
        layers: blocks, each seeing twice as far as the one before.
        rank: shapes in the basis.
        dropout: inside every block.
        input_dropout: of the audio features; high for pretrained ones and few clips.
        kernel: frames a block sees, odd.
    """

    rests_in_silence = True

    def __init__(
        self,
        in_width: int = 128,
        width: int = 128,
        layers: int = 2,
        rank: int = 32,
        dropout: float = 0.1,
        input_dropout: float = 0.0,
        kernel: int = 3,
    ):
        super().__init__()
        self.input_dropout = nn.Dropout(input_dropout)
        self.input = nn.Linear(in_width, width)
        self.blocks = nn.ModuleList(TemporalBlock(width, kernel, 2**i, dropout) for i in range(layers))
        self.reach = sum(2**i * (kernel - 1) // 2 for i in range(layers))
        self.norm = nn.LayerNorm(width)
        self.coefficients = nn.Linear(width, rank)
        self.basis = _zero_initialised(nn.Linear(rank, VERTICES * 3))

    def forward(self, features: Tensor) -> Tensor:
        """Args: features (b, f, in_width). Returns offsets (b, f, 468, 3), cm."""
        hidden = self.input(self.input_dropout(features))
        for block in self.blocks:
            hidden = block(hidden)
        return self.basis(self.coefficients(self.norm(hidden))).unflatten(-1, (VERTICES, 3))


def _zero_initialised(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
