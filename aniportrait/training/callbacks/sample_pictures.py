"""Samples beside the truth, as a picture or a film, in the run's folder and wherever the run is logged."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange, repeat
from lightning import Trainer
from PIL import Image
from torch import Tensor

from aniportrait.data.media import write_video
from aniportrait.data.schema import PortraitBatch

TAG = "val/samples"


def side_by_side(batch: PortraitBatch, samples: Tensor) -> np.ndarray:
    """(f, rows x h, 4 x w, 3) uint8: a row per clip with portrait, landmarks, sample and truth.

    Args:
        batch: of whose frames and conditions the samples are.
        samples: (b, f, 3, h, w) in [-1, 1].
    """
    portrait = repeat(batch.reference_image, "b c h w -> b f c h w", f=samples.shape[1])
    columns = [column.float().cpu() for column in (portrait, batch.pose_image, samples, batch.frames)]
    pixels = rearrange(torch.stack(columns), "k b f c h w -> f (b h) (k w) c")
    return ((pixels + 1) * 127.5).round().clamp(0, 255).byte().numpy()


def show_picture(trainer: Trainer, picture: np.ndarray, folder: Path) -> None:
    """(h, w, 3) uint8 -> `folder/step_<n>.png`, and to the loggers that take pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(folder / f"step_{trainer.global_step:06d}.png")
    logger: Any
    for logger in trainer.loggers:
        if hasattr(logger, "log_image"):
            logger.log_image(TAG, [picture], step=trainer.global_step)
        elif hasattr(getattr(logger, "experiment", None), "add_image"):
            logger.experiment.add_image(TAG, picture, trainer.global_step, dataformats="HWC")


def show_film(trainer: Trainer, pictures: np.ndarray, fps: float, folder: Path) -> None:
    """(f, h, w, 3) uint8 -> `folder/step_<n>.mp4`, to W&B as it is, and to TensorBoard as a moving gif."""
    file = folder / f"step_{trainer.global_step:06d}.mp4"
    write_video(file, pictures, fps)
    logger: Any
    for logger in trainer.loggers:
        if hasattr(logger, "log_video"):
            logger.log_video(f"{TAG}_film", [str(file)], step=trainer.global_step, format=["mp4"])
        elif hasattr(getattr(logger, "experiment", None), "add_image"):
            _add_gif(logger.experiment, pictures, fps, trainer.global_step)


def _add_gif(writer: Any, pictures: np.ndarray, fps: float, step: int) -> None:
    """What SummaryWriter.add_video does, which wants moviepy for it."""
    from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]

    gif = io.BytesIO()
    first, *rest = [Image.fromarray(picture) for picture in pictures]
    first.save(gif, "gif", save_all=True, append_images=rest, duration=round(1000 / fps), loop=0)
    image = Summary.Image(
        height=first.height, width=first.width, colorspace=3, encoded_image_string=gif.getvalue()
    )
    writer.file_writer.add_summary(Summary(value=[Summary.Value(tag=f"{TAG}_film", image=image)]), step)
