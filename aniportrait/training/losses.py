"""What the audio models are trained to make small; every term counts valid frames only."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from aniportrait.face.topology import LIPS
from aniportrait.models.audio2pose import POSE_SCALE, PosePrediction


@dataclass(frozen=True)
class MeshLoss:
    """L1 distance of vertices, of lip vertices once more, and of their velocities.

    Plain L1, the original's loss (`lip_weight=0, velocity_weight=0`), is known to settle on a mouth that
    stays shut.

    Args:
        lip_weight: of the lip vertices' own L1.
        velocity_weight: of the frame-to-frame differences, all vertices and lips as above.
    """

    lip_weight: float = 1.0
    velocity_weight: float = 2.0

    def __call__(self, prediction: Tensor, target: Tensor, valid: Tensor) -> dict[str, Tensor]:
        """Args: prediction, target (b, f, 468, 3) cm; valid (b, f). Returns weighted terms to sum."""
        lips = list(LIPS)
        terms = {"vertices": masked_l1(prediction, target, valid)}
        if self.lip_weight:
            terms["lips"] = self.lip_weight * masked_l1(prediction[:, :, lips], target[:, :, lips], valid)
        if self.velocity_weight:
            velocity, lip_velocity = (
                velocity_l1(prediction[:, :, v], target[:, :, v], valid) for v in (slice(None), lips)
            )
            terms["velocity"] = self.velocity_weight * (velocity + self.lip_weight * lip_velocity)
        return terms


@dataclass(frozen=True)
class PoseLikelihood:
    """Negative log-likelihood of the true poses, with a pull towards smooth means.

    Args:
        velocity_weight: of the L1 distance between the velocities of predicted means and true poses.
    """

    velocity_weight: float = 0.0

    def __call__(self, prediction: PosePrediction, target: Tensor, valid: Tensor) -> dict[str, Tensor]:
        """Args: target (b, f, 6) degrees and cm; valid (b, f). Returns weighted terms to sum."""
        terms = {"likelihood": gaussian_nll(prediction.mean, prediction.log_std, target, valid)}
        if self.velocity_weight:
            terms["velocity"] = self.velocity_weight * velocity_l1(prediction.mean, target, valid)
        return terms


@dataclass(frozen=True)
class PoseRegression:
    """Squared distance of poses and of their velocities, for the published, deterministic decoder."""

    velocity_weight: float = 1.0

    def __call__(self, prediction: Tensor, target: Tensor, valid: Tensor) -> dict[str, Tensor]:
        """Args: prediction, target (b, f, 6) degrees and cm; valid (b, f). Returns weighted terms to sum."""
        squared = F.mse_loss(prediction, target, reduction="none")
        terms = {"pose": masked_mean(squared, valid)}
        if self.velocity_weight:
            terms["velocity"] = self.velocity_weight * velocity_l1(prediction, target, valid)
        return terms


@dataclass(frozen=True)
class RolloutScore:
    """Energy score of motions that the network goes on with by itself (Gneiting and Raftery, 2007).

    Two drawn motions should lie as near to the true one as to each other. The score is proper: it is least for the
    true distribution, so it neither calms the head down nor makes it tremble, and it sees errors add up, which the
    likelihood of single steps does not.

    Args:
        frames: drawn in a row.
        clips: of each process's batch that are drawn; a frame costs as much as a pass over all frames before it.
        weight: of the term.
    """

    frames: int = 10
    clips: int = 4
    weight: float = 1.0

    def __call__(self, first: Tensor, second: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Args:
            first, second: (b, frames + 1, 6) two draws, degrees and cm, the last true pose before them.
            target: (b, frames + 1, 6) likewise.
            valid: (b, frames + 1).
        Returns:
            () weighted.
        """
        first, second, target = (_places_and_steps(motion) for motion in (first, second, target))
        error = (first - target).norm(dim=-1) + (second - target).norm(dim=-1) - (first - second).norm(dim=-1)
        return self.weight * masked_mean(error / 2, valid[:, 1:] & valid[:, :-1])


def _places_and_steps(motion: Tensor) -> Tensor:
    """(b, f + 1, 6) degrees and cm -> (b, f, 12) poses and their changes, both of about unit size."""
    scaled = motion / motion.new_tensor(POSE_SCALE)
    return torch.cat((scaled[:, 1:], 10 * scaled.diff(dim=1)), dim=-1)


def masked_l1(prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Mean absolute difference over valid frames: (b, f, ...), (b, f, ...), (b, f) -> ()."""
    return masked_mean((prediction - target).abs(), valid)


def velocity_l1(prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Mean absolute difference of frame-to-frame changes, where both frames are valid; 0 for one frame."""
    return masked_l1(prediction.diff(dim=1), target.diff(dim=1), valid[:, 1:] & valid[:, :-1])


def gaussian_nll(mean: Tensor, log_std: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Mean of -log N(target; mean, std) over valid frames: (b, f, c) each, valid (b, f) -> ()."""
    deviation = (target - mean) * torch.exp(-log_std)
    return masked_mean(0.5 * deviation.square() + log_std + 0.5 * math.log(2 * math.pi), valid)


def masked_mean(values: Tensor, valid: Tensor) -> Tensor:
    """Mean of values (b, f, ...) over the frames where valid (b, f); 0 where there are none."""
    per_frame = values.flatten(2).mean(dim=2) if values.ndim > 2 else values
    weight = valid.to(values.dtype)
    return (per_frame * weight).sum() / weight.sum().clamp_min(1)
