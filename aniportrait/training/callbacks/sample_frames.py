"""A look at what the denoiser has learned: portrait, landmarks, sample and truth of the first validation batch."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from lightning import Callback, LightningModule, Trainer
from PIL import Image
from torch import Generator

from aniportrait.data.schema import PortraitBatch
from aniportrait.diffusion.sampler import sample
from aniportrait.evaluation.face_l1 import FaceRegionL1
from aniportrait.models.portrait_networks import PortraitNetworks
from aniportrait.training.log_mean import log_mean
from aniportrait.training.portrait_step import batch_conditions, frame_latents
from aniportrait.training.sharding import gathered


class SampleFrames(Callback):
    """At every validation, samples the first validation batch and logs `val/face_l1` and a picture.

    The picture (a row per clip: portrait, landmarks, sample, truth; of a clip its middle frame) goes to
    `folder/step_<n>.png`, and to W&B or TensorBoard where one of them logs.

    Args:
        folder: where pictures are written.
        clips: at most this many of the batch.
        steps: of the solver.
        shared_noise: part of the noise that a clip's frames have in common, as when they are animated.
        seed: of the noise, the same at every validation.
    """

    def __init__(
        self, folder: str, clips: int = 4, steps: int = 4, shared_noise: float = 0.0, seed: int = 42
    ):
        self.folder = Path(folder)
        self.clips = clips
        self.steps = steps
        self.shared_noise = shared_noise
        self.seed = seed
        self._batch: PortraitBatch | None = None

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: PortraitBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if batch_idx == 0:
            self._batch = batch.only_counted().first(self.clips)

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._batch is None:
            return
        batch, error = self._batch, 0.0
        with gathered(pl_module), trainer.precision_plugin.forward_context():
            frames = self._sampled(pl_module, batch).float() if batch.keys else None
        if frames is not None:  # a rank may have had no clip left: its figure weighs nothing
            metric = FaceRegionL1(sync_on_compute=False)  # log_mean goes over the ranks
            metric.update(frames.cpu(), batch.frames.cpu(), batch.face_box.cpu())
            error = metric.compute().item()
            if trainer.is_global_zero:
                self._show(trainer, _grid(batch, frames))
        log_mean(pl_module, "val/face_l1", error, len(batch.keys))

    def _sampled(self, module: Any, batch: PortraitBatch) -> torch.Tensor:
        networks: PortraitNetworks = module.networks
        conditions = batch_conditions(networks, batch)
        latents = frame_latents(networks, batch)
        sampled = sample(
            networks.denoising_unet,
            module.scheduler,
            pose_features=conditions.pose_features,
            image_embeds=conditions.image_embeds,
            reference_features=conditions.reference_features,
            latent_shape=tuple(latents.shape),  # pyright: ignore[reportArgumentType]
            steps=self.steps,
            shared_noise=self.shared_noise,
            generator=Generator(latents.device).manual_seed(self.seed),
        )
        return networks.decode(networks.latent_space.decode(sampled, conditions.reference_latents))

    def _show(self, trainer: Trainer, grid: np.ndarray) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(grid).save(self.folder / f"step_{trainer.global_step:06d}.png")
        logger: Any
        for logger in trainer.loggers:
            if hasattr(logger, "log_image"):
                logger.log_image("val/samples", [grid], step=trainer.global_step)
            elif hasattr(getattr(logger, "experiment", None), "add_image"):
                logger.experiment.add_image("val/samples", grid, trainer.global_step, dataformats="HWC")


def _grid(batch: PortraitBatch, frames: torch.Tensor) -> np.ndarray:
    """(rows x h, 4 x w, 3) uint8: portrait, landmarks, sample, truth."""
    middle = frames.shape[1] // 2
    columns = (batch.reference_image, batch.pose_image[:, middle], frames[:, middle], batch.frames[:, middle])
    stacked = torch.stack([column.float().cpu() for column in columns])
    pixels = ((rearrange(stacked, "k b c h w -> (b h) (k w) c") + 1) * 127.5).round().clamp(0, 255)
    return pixels.byte().numpy()
