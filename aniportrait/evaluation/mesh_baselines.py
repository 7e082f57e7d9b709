"""What audio2mesh has to beat: meshes that ignore the sound, a linear map from it, another clip's sound."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from aniportrait.data.schema import SpeechBatch
from aniportrait.evaluation.lip_vertex_error import LipVertexError
from aniportrait.models.audio_encoder import frame_features, normalised_log_mel

CONTEXT = 9
"""Video frames of sound that the regression sees."""
PENALTIES = tuple(10.0**power for power in range(-1, 6))
"""The grid from which the regression's penalty is chosen on the validation clips."""


@dataclass(frozen=True)
class StillMesh:
    """The same offsets in every frame, whatever the sound.

    Args:
        offsets: (468, 3) cm from the neutral mesh.
    """

    offsets: Tensor

    def __call__(self, audio: Tensor, frames: int) -> Tensor:
        """Args: audio (b, n); frames. Returns (b, frames, 468, 3), cm."""
        return self.offsets.to(audio).expand(len(audio), frames, -1, -1)


@dataclass(frozen=True)
class RidgeMesh:
    """Offsets as a linear function of nine video frames of 40 normalised log-mel energies.

    Args:
        weight, bias: (360, 1404), (1404,).
        penalty: the ridge penalty it was fitted with, relative to features of unit variance.
    """

    weight: Tensor
    bias: Tensor
    penalty: float

    def __call__(self, audio: Tensor, frames: int) -> Tensor:
        """Args: audio (b, n); frames. Returns (b, frames, 468, 3), cm."""
        offsets = sound_features(audio, frames) @ self.weight.to(audio) + self.bias.to(audio)
        return offsets.unflatten(-1, (-1, 3))


def neutral_mesh(vertices: int = 468) -> StillMesh:
    """A face at rest that never moves."""
    return StillMesh(torch.zeros(vertices, 3))


def train_mean_mesh(train: Iterable[SpeechBatch]) -> StillMesh:
    """The mean offsets of all valid frames of the training clips."""
    total, count = torch.tensor(0.0, dtype=torch.float64), 0
    for batch in train:
        offsets = (batch.vertices - batch.neutral_vertices[:, None])[batch.valid]
        total, count = total + offsets.double().sum(dim=0), count + len(offsets)
    if count == 0:
        raise ValueError("training clips (0 valid frames) must hold at least one for the train-mean mesh")
    return StillMesh((total / count).float())


def ridge_mesh(
    train: Iterable[SpeechBatch], val: Sequence[SpeechBatch], penalties: Sequence[float] = PENALTIES
) -> RidgeMesh:
    """Ridge regression on the training clips, with the penalty of least lip vertex error on val."""
    sums = _Moments()
    for batch in train:
        sums.add(batch)
    candidates = [sums.solved(penalty) for penalty in penalties]
    return min(candidates, key=lambda candidate: lip_error(candidate, val))


def lip_error(predictor: StillMesh | RidgeMesh, batches: Iterable[SpeechBatch]) -> float:
    """Mean LipVertexError of a predictor of offsets over clips, mm."""
    metric = LipVertexError()
    for batch in batches:
        offsets = predictor(batch.audio, batch.vertices.shape[1])
        metric.update(batch.neutral_vertices[:, None] + offsets, batch.vertices, batch.valid)
    return float(metric.compute())


def with_other_sound(batches: Sequence[SpeechBatch], turn: int | None = None) -> list[SpeechBatch]:
    """The same windows with the sound of others: each gets that of the first window of another clip, counted
    from `turn` windows further on, or from half a data set.

    Sounds that are too short are repeated, too long ones cut. Windows of one clip only are an error.
    """
    sounds = [(key, audio) for batch in batches for key, audio in zip(batch.keys, batch.audio, strict=True)]
    if len({key for key, _ in sounds}) < 2:
        raise ValueError(
            f"clips ({sounds[0][0] if sounds else 'none'} only) must be at least two to exchange sounds"
        )
    position, exchanged = 0, []
    for batch in batches:
        others = []
        for key, own in zip(batch.keys, batch.audio, strict=True):
            start = position + (len(sounds) // 2 if turn is None else turn)
            order = (sounds[(start + i) % len(sounds)] for i in range(len(sounds)))
            other = next(audio for other_key, audio in order if other_key != key)
            others.append(other.repeat(-(-len(own) // len(other)))[: len(own)])
            position += 1
        exchanged.append(batch._replace(audio=torch.stack(others)))
    return exchanged


def sound_features(audio: Tensor, frames: int) -> Tensor:
    """The regression's input, from the same front-end as LogMelEncoder's: (b, n) -> (b, frames, 360)."""
    return frame_features(normalised_log_mel(audio), frames, CONTEXT)


class _Moments:
    """Sums over frames that a linear regression follows from, in float64."""

    def __init__(self):
        self.count = 0
        self.features = self.offsets = self.squares = self.products = torch.tensor(0.0, dtype=torch.float64)

    def add(self, batch: SpeechBatch) -> None:
        offsets = (batch.vertices - batch.neutral_vertices[:, None]).flatten(2)[batch.valid].double()
        features = sound_features(batch.audio, batch.vertices.shape[1])[batch.valid].double()
        self.count += len(features)
        self.features = self.features + features.sum(dim=0)
        self.offsets = self.offsets + offsets.sum(dim=0)
        self.squares = self.squares + features.T @ features
        self.products = self.products + features.T @ offsets

    def solved(self, penalty: float) -> RidgeMesh:
        if self.count == 0:
            raise ValueError(
                "training clips (0 valid frames) must hold at least one for the ridge regression"
            )
        mean_features, mean_offsets = self.features / self.count, self.offsets / self.count
        squares = self.squares - self.count * torch.outer(mean_features, mean_features)
        products = self.products - self.count * torch.outer(mean_features, mean_offsets)
        scale = (squares.diagonal() / self.count).clamp_min(1e-12)
        weight = torch.linalg.solve(squares + penalty * torch.diag(scale), products)
        bias = mean_offsets - mean_features @ weight
        return RidgeMesh(weight.float(), bias.float(), penalty)
