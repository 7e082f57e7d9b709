"""A look at what the denoiser has learned: some clips of the validation, sampled."""

from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Generator, Tensor

from aniportrait.data.schema import PortraitBatch
from aniportrait.diffusion.sampler import sample
from aniportrait.evaluation.face_l1 import FaceRegionL1
from aniportrait.models.portrait_networks import Conditions, PortraitNetworks
from aniportrait.training.callbacks.sample_pictures import show_film, show_picture, side_by_side
from aniportrait.training.callbacks.spread_clips import SpreadClips
from aniportrait.training.frozen_output import change, contrast, difference
from aniportrait.training.log_mean import log_mean
from aniportrait.training.portrait_step import batch_conditions, frame_latents
from aniportrait.training.sharding import gathered


class SampleFrames(SpreadClips):
    """At every validation samples some clips, logs figures of them and shows them beside the truth.

    Logged are `val/face_l1` and, of the denoiser's own latents, the signs of a frozen output: `val/sample_contrast`,
    `val/sample_difference` (where a rank has two clips) and `val/sample_change` since the last validation; see
    `frozen_output`. A picture of the middle frames and a film go to `folder/step_<n>`, and to
    W&B or TensorBoard where one of them logs: a row per clip with portrait, landmarks, sample and truth.

    Args:
        folder: where pictures and films are written.
        clips: at most so many of each rank.
        steps: of the solver.
        shared_noise: part of the noise that a clip's frames have in common, as when they are animated.
        fps: of the film; None: there is none, as where a clip's frames are not in a row.
        seed: of the noise, the same at every validation.
    """

    def __init__(
        self,
        folder: str,
        clips: int = 4,
        steps: int = 4,
        shared_noise: float = 0.0,
        fps: float | None = None,
        seed: int = 42,
    ):
        super().__init__(clips)
        self.folder = Path(folder)
        self.steps = steps
        self.shared_noise = shared_noise
        self.fps = fps
        self.seed = seed
        self._before: Tensor | None = None  # latents of the last validation
        self._validations = 0

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        batch = self.taken()
        figures: dict[str, float] = {}  # a rank may have had no clip left: its figures weigh nothing
        with gathered(pl_module), trainer.precision_plugin.forward_context():
            if batch is not None:
                figures = self._look(trainer, pl_module, batch)
        count = len(batch.keys) if batch is not None else 0
        log_mean(pl_module, "val/face_l1", figures.get("face_l1", 0.0), count)
        for name in self._signs(trainer, count):
            known = count if name in figures else 0
            log_mean(pl_module, f"val/{name}", figures.get(name, 0.0), known, shown=False)
        self._validations += trainer.state.fn == TrainerFn.FITTING

    def _look(self, trainer: Trainer, module: Any, batch: PortraitBatch) -> dict[str, float]:
        networks: PortraitNetworks = module.networks
        conditions = batch_conditions(networks, batch)
        truth = networks.latent_space.encode(frame_latents(networks, batch), conditions.reference_latents)
        latents = self._sampled(module, conditions, truth.shape)
        frames = networks.decode(networks.latent_space.decode(latents, conditions.reference_latents)).float()
        metric = FaceRegionL1(sync_on_compute=False)  # log_mean goes over the ranks
        metric.update(frames.cpu(), batch.frames.cpu(), batch.face_box.cpu())
        figures = {"face_l1": metric.compute().item(), "sample_contrast": contrast(latents, truth)}
        if len(batch.keys) > 1:
            figures["sample_difference"] = difference(latents, truth)
        if self._before is not None:
            figures["sample_change"] = change(latents, self._before.to(latents.device), truth)
        self._before = latents.cpu()
        if trainer.is_global_zero:
            pictures = side_by_side(batch, frames)
            show_picture(trainer, pictures[len(pictures) // 2], self.folder)
            if self.fps is not None:
                show_film(trainer, pictures, self.fps, self.folder)
        return figures

    def _sampled(self, module: Any, conditions: Conditions, shape: torch.Size) -> Tensor:
        return sample(
            module.networks.denoising_unet,
            module.scheduler,
            pose_features=conditions.pose_features,
            image_embeds=conditions.image_embeds,
            reference_features=conditions.reference_features,
            latent_shape=tuple(shape),  # pyright: ignore[reportArgumentType]
            steps=self.steps,
            shared_noise=self.shared_noise,
            generator=Generator(module.device).manual_seed(self.seed),
        )

    def _signs(self, trainer: Trainer, count: int) -> list[str]:
        """Those that can be told at this validation, the same on every rank."""
        signs = ["sample_contrast"]
        if trainer.strategy.reduce_boolean_decision(count > 1, all=False):
            signs.append("sample_difference")
        if self._validations and trainer.state.fn == TrainerFn.FITTING:  # after it the weights are the same
            signs.append("sample_change")
        return signs
