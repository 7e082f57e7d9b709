"""Speech -> head pose, one frame after another: one motion out of many."""

from typing import NamedTuple

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor, nn

from aniportrait.models.pose_decoder import (
    POSE_SIZE,
    PoseDecoder,
    encoder_width,
    identity_vector,
    shifted,
)
from aniportrait.models.pose_rollout import PoseRollout

POSE_SCALE = (10.0, 10.0, 10.0, 2.0, 2.0, 2.0)
"""What counts as a large pose: degrees, then cm. Networks see poses divided by it."""
POSE_LIMIT = (60.0, 60.0, 60.0, 20.0, 20.0, 20.0)
"""No sampled pose leaves these bounds: degrees, then cm."""


class PosePrediction(NamedTuple):
    """A normal distribution for each frame's head pose: mean and log_std (b, f, 6), degrees and cm."""

    mean: Tensor
    log_std: Tensor


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
        self.memory_input = nn.Linear(encoder_width(encoder), width)
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
        features = self.encoder(audio, head_pose.shape[1]).float()
        # In bfloat16 16 degrees are told to an eighth of one.
        with torch.autocast(audio.device.type, enabled=False):
            memory = self.memory_input(features)
            previous = shifted(self._disturbed(head_pose) if self.training else head_pose)
            style = identity_vector(self.identity, identity, len(head_pose))
            decoded = self.decoder(self.pose_input(self._state(previous, shifted(previous))) + style, memory)
            return self._prediction(decoded, previous)

    def continued(
        self,
        audio: Tensor,
        head_pose: Tensor,
        start: int,
        frames: int,
        identity: Tensor | None = None,
        generator: list[torch.Generator] | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """A motion that goes on by itself from true poses, with gradients: what training on roll-outs needs.

        Args:
            audio: (b, n) at 16 kHz, of all frames of head_pose.
            head_pose: (b, f, 6) degrees and cm; only the first `start` are looked at.
            start: true poses.
            frames: poses to draw, start + frames <= f.
            identity, temperature: see sample.
            generator: one for each of the batch, which then does not depend on the others.
        Returns:
            (b, frames, 6), degrees and cm.
        """
        if not 0 < frames <= head_pose.shape[1] - start:
            raise ValueError(
                f"start ({start}) and frames ({frames}) must lie within the {head_pose.shape[1]} given"
            )
        features = self.encoder(audio, head_pose.shape[1]).float()
        style = identity_vector(self.identity, identity, len(head_pose))
        poses = torch.cat((torch.zeros_like(head_pose[:, :1]), head_pose[:, :start]), dim=1)
        with torch.autocast(audio.device.type, enabled=False):
            memory = self.memory_input(features)
            for _ in range(frames):
                embedded = self.pose_input(self._state(poses, shifted(poses))) + style
                decoded = self.decoder(embedded, memory[:, : poses.shape[1]])[:, -1:]
                drawn = self._drawn(self._prediction(decoded, poses[:, -1:]), generator, temperature)
                poses = torch.cat((poses, drawn), dim=1)
        return poses[:, -frames:]

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
        with torch.inference_mode():
            memory = self.memory_input(self.encoder(audio, frames))
            style = identity_vector(self.identity, identity, len(audio)).expand(-1, frames, -1)
            decode = PoseRollout(self.decoder, self.pose_input, style, memory)
            pose = before = audio.new_zeros(len(audio), POSE_SIZE)
            poses = []
            for _ in range(frames):
                decoded = decode(self._state(pose, before))
                before, pose = pose, self._drawn(self._prediction(decoded, pose), generator, temperature)
                poses.append(pose)
        return torch.stack(poses, dim=1)  # outside, an ordinary tensor

    def _state(self, previous: Tensor, before: Tensor) -> Tensor:
        """The pose before a frame and the one before that (..., 6) -> what is embedded of them (..., 12)."""
        state = torch.cat((previous / self.pose_scale, (previous - before) / self.step_scale), dim=-1)
        return 3 * torch.tanh(state / 3)

    def _prediction(self, decoded: Tensor, previous: Tensor) -> PosePrediction:
        """Decoder output (..., width) and the pose before each frame (..., 6) -> each frame's distribution."""
        step, log_std = self.output(decoded).chunk(2, dim=-1)
        mean = (1 - self.leak) * previous + step * self.step_scale
        low, high = self.log_std_range
        log_std = low + (high - low) * torch.sigmoid(log_std) + torch.log(self.step_scale)
        return PosePrediction(mean, log_std)

    def _drawn(
        self,
        prediction: PosePrediction,
        generator: torch.Generator | list[torch.Generator] | None,
        temperature: float,
    ) -> Tensor:
        mean = prediction.mean
        noise = randn_tensor(mean.shape, generator=generator, device=mean.device, dtype=torch.float32).to(
            mean
        )
        pose = mean + temperature * prediction.log_std.exp() * noise
        return torch.clamp(pose, -self.limit, self.limit)

    def _disturbed(self, head_pose: Tensor) -> Tensor:
        """Past poses with small errors, as a roll-out leaves them; how small differs from clip to clip."""
        amount = torch.rand(len(head_pose), 1, 1, device=head_pose.device)
        return head_pose + amount * self.teacher_noise * self.step_scale * torch.randn_like(head_pose)
