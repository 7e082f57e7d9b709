"""Speech -> head pose, one frame after another."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

POSE_SIZE = 6
POSE_SCALE = (10.0, 10.0, 10.0, 2.0, 2.0, 2.0)
"""What counts as a large pose: degrees, then cm. Networks see poses divided by it."""
POSE_LIMIT = (60.0, 60.0, 60.0, 20.0, 20.0, 20.0)
"""No sampled pose leaves these bounds: degrees, then cm."""


class PosePrediction(NamedTuple):
    """A normal distribution for each frame's head pose: mean and log_std (b, f, 6), degrees and cm."""

    mean: Tensor
    log_std: Tensor


@dataclass
class KeyValueCache:
    """Keys and values (b, k, frames, d) of the last frames that one decoder layer has seen."""

    key: Tensor
    value: Tensor


class PoseDecoderLayer(nn.Module):
    """Post-norm transformer layer over past poses; frame i of the sound enters at pose i only.

    AniPortrait masks its cross-attention down to the diagonal. A softmax over one key is 1, so what remains
    of it is `memory_output(memory_value(memory))`: its queries and keys cannot matter and are left out.

    Args:
        width: of poses and memory.
        heads: of the self-attention.
        hidden: width of the feed-forward part.
        dropout: on attention weights and on each of the three residuals.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_output = nn.Linear(width, width)
        self.memory_value = nn.Linear(width, width)
        self.memory_output = nn.Linear(width, width)
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, width)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))

    def forward(
        self, pose: Tensor, memory: Tensor, bias: Tensor, past: KeyValueCache | None = None
    ) -> tuple[Tensor, KeyValueCache]:
        """Args:
            pose: (b, f, width) of the frames to decode.
            memory: (b, f, width) sound of the same frames.
            bias: (heads, f, past + f) added to the attention scores, -inf where a frame may not look.
            past: keys and values of the frames before; None at the start.
        Returns:
            (b, f, width), and the keys and values of all frames, past ones included.
        """
        query, key, value = rearrange(
            self.query_key_value(pose), "b f (s k d) -> s b k f d", s=3, k=self.heads
        )
        if past is not None:
            key, value = torch.cat((past.key, key), dim=2), torch.cat((past.value, value), dim=2)
        attended = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=bias.to(query.dtype),
            dropout_p=self.dropout if self.training else 0.0,
        )
        attended = self.attention_output(rearrange(attended, "b k f d -> b f (k d)"))
        pose = self.norm1(pose + self._dropped(attended))
        pose = self.norm2(pose + self._dropped(self.memory_output(self.memory_value(memory))))
        expanded = self._dropped(F.relu(self.expand(pose)))
        pose = self.norm3(pose + self._dropped(self.contract(expanded)))
        return pose, KeyValueCache(key, value)

    def _dropped(self, hidden: Tensor) -> Tensor:
        return F.dropout(hidden, self.dropout, self.training)


class PoseDecoder(nn.Module):
    """A stack of PoseDecoderLayer whose attention fades with distance (ALiBi, arXiv 2108.12409).

    Args:
        width, layers, heads, hidden, dropout: see PoseDecoderLayer.
        reach: frames a frame looks back to, itself included; None for all.
    """

    slopes: Tensor

    def __init__(
        self, width: int, layers: int, heads: int, hidden: int, dropout: float = 0.1, reach: int | None = None
    ):
        super().__init__()
        self.reach = reach
        self.layers = nn.ModuleList(PoseDecoderLayer(width, heads, hidden, dropout) for _ in range(layers))
        self.register_buffer("slopes", alibi_slopes(heads), persistent=False)

    def forward(
        self, pose: Tensor, memory: Tensor, past: list[KeyValueCache] | None = None
    ) -> tuple[Tensor, list[KeyValueCache]]:
        """Pose and memory (b, f, width) of frames that follow `past` -> (b, f, width) and the new past."""
        before = past[0].key.shape[2] if past else 0
        bias = causal_bias(self.slopes, pose.shape[1], before, self.reach)
        present = []
        for i, layer in enumerate(self.layers):
            pose, seen = layer(pose, memory, bias, past[i] if past else None)
            present.append(self._within_reach(seen))
        return pose, present

    def _within_reach(self, seen: KeyValueCache) -> KeyValueCache:
        if self.reach is None:
            return seen
        kept = max(0, seen.key.shape[2] - self.reach + 1)
        return KeyValueCache(seen.key[:, :, kept:], seen.value[:, :, kept:])


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
        self.memory_input = nn.Linear(_width(encoder), latent_dim)
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
        memory = self.memory_input(self.encoder(audio, head_pose.shape[1]))
        previous = self.pose_input(shifted(head_pose))
        return self._decoded(previous, memory, identity, 0, None)[0]

    @torch.no_grad()
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
        memory = self.memory_input(self.encoder(audio, frames))
        pose, past, poses = audio.new_zeros(len(audio), 1, POSE_SIZE), None, []
        for frame in range(frames):
            pose, past = self._decoded(
                self.pose_input(pose), memory[:, frame : frame + 1], identity, frame, past
            )
            poses.append(pose)
        return torch.cat(poses, dim=1)

    def _decoded(
        self,
        pose: Tensor,
        memory: Tensor,
        identity: Tensor | None,
        first: int,
        past: list[KeyValueCache] | None,
    ) -> tuple[Tensor, list[KeyValueCache]]:
        pose = pose + sinusoids(first, pose.shape[1], pose.shape[2]).to(pose)
        pose = pose + identity_vector(self.identity, identity, len(pose))
        decoded, present = self.decoder(pose, memory, past)
        return self.pose_output(decoded), present


class Audio2Pose(nn.Module):
    """Head motion as a distribution: each frame is drawn around a mean that sound, style and past decide.

    What the decoder says is a step away from the previous pose, which leaks towards the reference pose. Its
    inputs saturate, so steps are bounded, and the leak wins far out: roll-outs of any length stay near
    the reference. Positions are relative, attention reaches `reach` frames back, so that minutes look like
    seconds did in training. Training mode disturbs the past poses, so that the decoder learns to come back
    from its own errors.

    Args:
        encoder: (audio (b, n), frames) -> (b, frames, encoder.width).
        identities: styles to choose from.
        width, layers, heads, dropout: of the decoder.
        reach: frames a frame looks back to. Well below a training window, or what lies past the window's length
            was hardly ever seen in training and the motion dies away in a long roll-out.
        leak: part of the pose lost in every frame, unless the decoder says otherwise.
        step_scale: a large step, as a fraction of a large pose (POSE_SCALE).
        teacher_noise: largest disturbance of the past poses in training, as a fraction of a large step. Keep it
            well below the motion's own acceleration: what the decoder cannot tell from noise becomes noise.
    """

    log_std_range = (-5.0, 1.0)
    """Of a step's natural-log standard deviation, in large steps."""

    pose_scale: Tensor
    step_scale: Tensor
    limit: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        identities: int = 1,
        width: int = 128,
        layers: int = 4,
        heads: int = 4,
        dropout: float = 0.1,
        reach: int = 25,
        leak: float = 0.02,
        step_scale: float = 0.1,
        teacher_noise: float = 0.01,
    ):
        super().__init__()
        self.encoder = encoder
        self.leak = leak
        self.teacher_noise = teacher_noise
        self.memory_input = nn.Linear(_width(encoder), width)
        self.pose_input = nn.Linear(2 * POSE_SIZE, width)
        self.identity = nn.Embedding(identities, width)
        nn.init.normal_(self.identity.weight, std=0.1)
        self.decoder = PoseDecoder(width, layers, heads, 2 * width, dropout, reach)
        self.output = nn.Linear(width, 2 * POSE_SIZE)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        self.register_buffer("pose_scale", torch.tensor(POSE_SCALE))
        self.register_buffer("step_scale", step_scale * torch.tensor(POSE_SCALE))
        self.register_buffer("limit", torch.tensor(POSE_LIMIT), persistent=False)

    def forward(self, audio: Tensor, head_pose: Tensor, identity: Tensor | None = None) -> PosePrediction:
        """The distribution of each frame's pose, given the true poses before it.

        Args:
            audio: (b, n) at 16 kHz.
            head_pose: (b, f, 6) degrees and cm.
            identity: (b,) style; None for the mean of all.
        Returns:
            mean and log_std (b, f, 6).
        """
        memory = self.memory_input(self.encoder(audio, head_pose.shape[1]))
        previous = shifted(self._disturbed(head_pose) if self.training else head_pose)
        return self._decoded(previous, shifted(previous), memory, identity, None)[0]

    @torch.no_grad()
    def sample(
        self,
        audio: Tensor,
        frames: int,
        identity: Tensor | None = None,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """One motion out of many; the generator decides which.

        Args:
            audio: (b, n) at 16 kHz.
            frames: to draw.
            identity: (b,) style; None for the mean of all.
            generator: source of the randomness.
            temperature: factor on the standard deviations; 0 gives the mean motion.
        Returns:
            (b, frames, 6), degrees and cm relative to the reference frame.
        """
        memory = self.memory_input(self.encoder(audio, frames))
        pose = before = audio.new_zeros(len(audio), 1, POSE_SIZE)
        past, poses = None, []
        for frame in range(frames):
            prediction, past = self._decoded(pose, before, memory[:, frame : frame + 1], identity, past)
            before, pose = pose, self._drawn(prediction, generator, temperature)
            poses.append(pose)
        return torch.cat(poses, dim=1)

    def _decoded(
        self,
        previous: Tensor,
        before: Tensor,
        memory: Tensor,
        identity: Tensor | None,
        past: list[KeyValueCache] | None,
    ) -> tuple[PosePrediction, list[KeyValueCache]]:
        state = torch.cat((previous / self.pose_scale, (previous - before) / self.step_scale), dim=-1)
        pose = self.pose_input(3 * torch.tanh(state / 3))
        pose = pose + identity_vector(self.identity, identity, len(pose))
        decoded, present = self.decoder(pose, memory, past)
        step, log_std = self.output(decoded).chunk(2, dim=-1)
        mean = (1 - self.leak) * previous + step * self.step_scale
        low, high = self.log_std_range
        log_std = low + (high - low) * torch.sigmoid(log_std) + torch.log(self.step_scale)
        return PosePrediction(mean, log_std), present

    def _drawn(
        self, prediction: PosePrediction, generator: torch.Generator | None, temperature: float
    ) -> Tensor:
        mean = prediction.mean
        device = mean.device if generator is None else generator.device
        noise = torch.randn(mean.shape, generator=generator, device=device).to(mean)
        pose = mean + temperature * prediction.log_std.exp() * noise
        return torch.clamp(pose, -self.limit, self.limit)

    def _disturbed(self, head_pose: Tensor) -> Tensor:
        """Past poses with small errors, as a roll-out leaves them; how small differs from clip to clip."""
        amount = torch.rand(len(head_pose), 1, 1, device=head_pose.device)
        return head_pose + amount * self.teacher_noise * self.step_scale * torch.randn_like(head_pose)


def shifted(head_pose: Tensor) -> Tensor:
    """(b, f, 6) -> the pose before each frame; the reference pose, all zero, before the first."""
    return F.pad(head_pose[:, :-1], (0, 0, 1, 0))


def alibi_slopes(heads: int) -> Tensor:
    """(heads,) slopes 2^(-8/heads), 2^(-16/heads), ...: for 8 heads 1/2, 1/4, ..., 1/256."""
    return 2.0 ** (-8.0 / heads * torch.arange(1, heads + 1))


def causal_bias(slopes: Tensor, frames: int, before: int = 0, reach: int | None = None) -> Tensor:
    """What is added to attention scores: minus slope times distance; -inf for the future and beyond reach.

    Args:
        slopes: (heads,).
        frames: queries; they follow `before` further keys.
        reach: frames a query looks back to, itself included; None for all.
    Returns:
        (heads, frames, before + frames).
    """
    query = torch.arange(before, before + frames, device=slopes.device)
    distance = query[:, None] - torch.arange(before + frames, device=slopes.device)
    hidden = (distance < 0) if reach is None else (distance < 0) | (distance >= reach)
    return (-slopes[:, None, None] * distance).masked_fill(hidden, -math.inf)


def sinusoids(first: int, frames: int, width: int) -> Tensor:
    """(frames, width) positional encoding from frame `first` on: sines on even channels, cosines on odd."""
    position = torch.arange(first, first + frames, dtype=torch.float32)[:, None]
    frequency = torch.exp(torch.arange(0, width, 2).float() * (-math.log(10000.0) / width))
    return torch.stack((torch.sin(position * frequency), torch.cos(position * frequency)), dim=-1).flatten(1)


def identity_vector(embedding: nn.Embedding, identity: Tensor | None, batch: int) -> Tensor:
    """(batch, 1, width) of each clip's style; the mean of all styles where none is named."""
    if identity is None:
        return embedding.weight.mean(dim=0).expand(batch, 1, -1)
    return embedding(identity)[:, None]


def _width(encoder: nn.Module) -> int:
    width = getattr(encoder, "width", None)
    if not isinstance(width, int):
        raise ValueError(f"audio encoder {type(encoder).__name__} must have an integer attribute width")
    return width
