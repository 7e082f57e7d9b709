"""Speech -> head pose as AniPortrait published it: one motion for a voice and a style."""

import torch
from diffusers.models.embeddings import SinusoidalPositionalEmbedding
from torch import Tensor, nn

from aniportrait.models.pose_decoder import (
    POSE_SIZE,
    PoseDecoder,
    encoder_width,
    identity_vector,
    shifted,
)
from aniportrait.models.pose_rollout import PoseRollout


class PublishedAudio2Pose(nn.Module):
    """AniPortrait's pose decoder, a FaceFormer (arXiv 2112.05329) on 6-D head poses: deterministic, 30 fps.

    The original re-decodes the whole prefix for every frame and stops at 600 frames and a batch of one; here
    keys and values are kept, lengths and batches are free. It was never run on more than 300 frames at once.

    Args:
        encoder: (audio (b, n), frames) -> (b, frames, encoder.width).
        latent_dim: width of the decoder; its feed-forward part is twice as wide.
        identities: styles to choose from.
    """

    def __init__(
        self,
        encoder: nn.Module,
        latent_dim: int = 512,
        identities: int = 100,
        layers: int = 8,
        heads: int = 8,
    ):
        super().__init__()
        self.encoder = encoder
        self.memory_input = nn.Linear(encoder_width(encoder), latent_dim)
        self.pose_input = nn.Linear(POSE_SIZE, latent_dim)
        self.identity = nn.Embedding(identities, latent_dim)
        self.decoder = PoseDecoder(latent_dim, layers, heads, 2 * latent_dim)
        self.pose_output = nn.Linear(latent_dim, POSE_SIZE)

    def forward(self, audio: Tensor, head_pose: Tensor, identity: Tensor | None = None) -> Tensor:
        """Each frame's pose from the true poses before it.

        Args:
            audio: (b, n) at 16 kHz.
            head_pose: (b, f, 6) degrees and cm.
            identity: (b,) style; None for the mean of all.
        Returns:
            (b, f, 6), degrees and cm.
        """
        b, frames = head_pose.shape[:2]
        features = self.encoder(audio, frames).float()
        with torch.autocast(audio.device.type, enabled=False):  # as in Audio2Pose
            memory = self.memory_input(features)
            poses = self.pose_input(shifted(head_pose)) + self._places(b, frames, identity)
            return self.pose_output(self.decoder(poses, memory))

    def sample(
        self,
        audio: Tensor,
        frames: int,
        identity: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The motion that follows from the sound and the style.

        Args:
            audio: (b, n) at 16 kHz.
            frames: to decode, 30 a second.
            identity: (b,) style; None for the mean of all.
            generator: unused, the decoder is deterministic; the signature is Audio2Pose's.
        Returns:
            (b, frames, 6), degrees and cm.
        """
        with torch.no_grad():
            return self.roll_out(self.encoder(audio, frames), identity)

    def roll_out(self, features: Tensor, identity: Tensor | None = None) -> Tensor:
        """As `sample`, from what the encoder makes of the sound, (b, frames, encoder.width)."""
        b, frames = features.shape[:2]
        with torch.inference_mode():
            memory, places = self.memory_input(features), self._places(b, frames, identity)
            decode = PoseRollout(self.decoder, self.pose_input, places, memory)
            pose, poses = features.new_zeros(b, POSE_SIZE), []
            for _ in range(frames):
                pose = self.pose_output(decode(pose))
                poses.append(pose)
        return torch.stack(poses, dim=1)  # outside, an ordinary tensor

    def _places(self, batch: int, frames: int, identity: Tensor | None) -> Tensor:
        """(batch, frames, width) added to the poses: when, and in whose style."""
        style = identity_vector(self.identity, identity, batch)
        return positions(frames, style.shape[-1]).to(style) + style


def positions(frames: int, width: int) -> Tensor:
    """(frames, width) positional encoding: sines on even channels, cosines on odd."""
    return SinusoidalPositionalEmbedding(width, frames).get_buffer("pe")[0]
