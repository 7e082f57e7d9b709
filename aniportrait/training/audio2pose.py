"""Training of audio2pose: speech and past head poses -> the next head pose."""

from collections.abc import Callable
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor, nn

from aniportrait.data.schema import SpeechBatch
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
    """

    def __init__(
        self,
        audio2pose: nn.Module,
        loss: PoseLikelihood | PoseRegression,
        optimizer: Callable[..., torch.optim.Optimizer],
        lr_schedule: Callable[..., Any],
        rollout: RolloutScore | None = None,
    ):
        super().__init__()
        self.networks = nn.ModuleDict({"audio2pose": audio2pose})
        self.loss, self.rollout = loss, rollout
        self._optimizer = optimizer
        self._lr_schedule = lr_schedule

    def training_step(self, batch: SpeechBatch, batch_idx: int) -> Tensor:
        terms = self._terms(batch, batch.identity)
        if self.rollout is not None:
            terms["rollout"] = self._rollout(batch, self.rollout)
        loss = torch.stack(list(terms.values())).sum()
        self.log_dict({f"loss/{name}": value for name, value in terms.items()}, batch_size=len(batch.keys))
        self.log("loss/total", loss, prog_bar=True, batch_size=len(batch.keys))
        return loss

    def validation_step(self, batch: SpeechBatch, batch_idx: int) -> None:
        loss = torch.stack(list(self._terms(batch, None).values())).sum()
        # A mean over valid frames, weighed by their number: what only fills a batch up has none.
        log_mean(self, "val/loss", loss, int(batch.valid.sum()))

    def configure_optimizers(self) -> Any:
        return optimisers(self.networks, self._optimizer, self._lr_schedule)

    def _rollout(self, batch: SpeechBatch, score: RolloutScore) -> Tensor:
        """The score of two motions that start anywhere in the windows, the same place for all of the batch."""
        latest = batch.head_pose.shape[1] - score.frames
        start = int(torch.randint(1, latest + 1, ()))
        end = start + score.frames
        seconds = end / batch.head_pose.shape[1]
        audio = batch.audio[: score.clips, : round(seconds * batch.audio.shape[1])]
        head_pose, valid = batch.head_pose[: score.clips, :end], batch.valid[: score.clips, start - 1 : end]
        identity = batch.identity[: score.clips]
        audio2pose: Any = self.networks["audio2pose"]
        twice = (torch.cat((part, part)) for part in (audio, head_pose))
        drawn = audio2pose.continued(*twice, start, score.frames, torch.cat((identity, identity)))
        first, second = (
            torch.cat((head_pose[:, start - 1 : start], motion), dim=1) for motion in drawn.chunk(2)
        )
        return score(first, second, head_pose[:, start - 1 :], valid)

    def _terms(self, batch: SpeechBatch, identity: Tensor | None) -> dict[str, Tensor]:
        prediction = self.networks["audio2pose"](batch.audio, batch.head_pose, identity)
        return self.loss(prediction, batch.head_pose, batch.valid)
