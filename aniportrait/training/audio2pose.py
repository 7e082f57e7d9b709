"""Training of audio2pose: speech and past head poses -> the next head pose."""

from collections.abc import Callable
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor, nn

from aniportrait.data.schema import SpeechBatch
from aniportrait.training.generators import step_generator, step_generators
from aniportrait.training.log_mean import log_mean
from aniportrait.training.losses import PoseLikelihood, PoseRegression, RolloutScore
from aniportrait.training.optimisation import optimisers


class Audio2PoseTraining(LightningModule):
    """Owns the optimisation of an audio2pose network; logs `loss/*` and `val/loss`.

    Every frame is learned from the true poses before it, and stretches of `rollout.frames` from the network's own.

    Args:
        audio2pose: what is trained.
        loss: of (prediction, true head pose, valid).
        rollout: of two motions that go on from a true one; None for teacher forcing alone, and for the published
            decoder, which draws nothing.
        optimizer: parameters -> optimizer.
        lr_schedule: optimizer -> schedule, stepped once per step.
        seed: of where roll-outs begin and what they draw, together with step and position in the global batch.
    """

    def __init__(
        self,
        audio2pose: nn.Module,
        loss: PoseLikelihood | PoseRegression,
        optimizer: Callable[..., torch.optim.Optimizer],
        lr_schedule: Callable[..., Any],
        rollout: RolloutScore | None = None,
        seed: int = 42,
    ):
        super().__init__()
        self.networks = nn.ModuleDict({"audio2pose": audio2pose})
        self.loss, self.rollout, self.seed = loss, rollout, seed
        self._optimizer = optimizer
        self._lr_schedule = lr_schedule

    def training_step(self, batch: SpeechBatch, batch_idx: int) -> Tensor:
        terms = self._terms(batch, batch.identity)
        if self.rollout is not None:
            terms["rollout"] = self._rollout(batch, batch_idx, self.rollout)
        loss = torch.stack(list(terms.values())).sum()
        self.log_dict({f"loss/{name}": value for name, value in terms.items()}, batch_size=len(batch.keys))
        self.log("loss/total", loss, batch_size=len(batch.keys))
        return loss

    def validation_step(self, batch: SpeechBatch, batch_idx: int) -> None:
        loss = torch.stack(list(self._terms(batch, None).values())).sum()
        # A mean over valid frames, weighed by their number: what only fills a batch up has none.
        log_mean(self, "val/loss", loss, int(batch.valid.sum()))

    def configure_optimizers(self) -> Any:
        return optimisers(self.networks, self._optimizer, self._lr_schedule)

    def _rollout(self, batch: SpeechBatch, batch_idx: int, score: RolloutScore) -> Tensor:
        """The score of two motions that start anywhere in the windows, the same place for all of the global batch."""
        window = batch.head_pose.shape[1]
        if score.frames >= window:
            raise ValueError(f"rollout.frames ({score.frames}) must be smaller than window_frames ({window})")
        start = int(
            torch.randint(1, window - score.frames + 1, (), generator=step_generator(self, self.seed))
        )
        end = start + score.frames
        audio = batch.audio[: score.clips, : round(end / window * batch.audio.shape[1])]
        head_pose, valid = batch.head_pose[: score.clips, :end], batch.valid[: score.clips, start - 1 : end]
        identity = batch.identity[: score.clips]
        generators = step_generators(self, self.seed, batch_idx, len(batch.keys))[: score.clips]
        audio2pose: Any = self.networks["audio2pose"]
        audio, poses, identity = (torch.cat((part, part)) for part in (audio, head_pose, identity))
        drawn = audio2pose.continued(audio, poses, start, score.frames, identity, 2 * generators)
        first, second = (
            torch.cat((head_pose[:, start - 1 : start], motion), dim=1) for motion in drawn.chunk(2)
        )
        return score(first, second, head_pose[:, start - 1 :], valid)

    def _terms(self, batch: SpeechBatch, identity: Tensor | None) -> dict[str, Tensor]:
        prediction = self.networks["audio2pose"](batch.audio, batch.head_pose, identity)
        return self.loss(prediction, batch.head_pose, batch.valid)
