"""python prepare.py step=latents: the frozen encoders' answers to every frame of a data set, for training to read."""

import logging

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor

from aniportrait.cli.encoders import encoder_name
from aniportrait.data.latents import LatentsOrigin, write_latents
from aniportrait.data.mixture import one_folder
from aniportrait.data.shards import ShardIndex
from aniportrait.models.freed_memory import keep_freed_memory
from aniportrait.models.processor import warn_of_emulation

log = logging.getLogger(__name__)


def prepare_latents(config: DictConfig) -> None:
    """Write latents and image embeddings beside the shards of `config.data.folder`."""
    folder = one_folder(config.data.folder, "step=latents")
    index = ShardIndex.load(folder)
    device = config.encoding.device
    if str(config.encoding.precision) not in ("32", "bf16"):
        raise ValueError(f"encoding.precision ({config.encoding.precision}) must be 32 or bf16")
    half = str(config.encoding.precision) == "bf16"
    if half:
        warn_of_emulation("encoding.precision=bf16", device)
    if torch.device(device).type == "cpu":
        keep_freed_memory()
    autoencoder = instantiate(config.autoencoder).to(device, memory_format=torch.channels_last).eval()
    image_encoder = instantiate(config.image_encoder).to(device).eval()
    names = encoder_name(autoencoder), encoder_name(image_encoder)

    @torch.inference_mode()
    def encode(pictures: Tensor) -> tuple[Tensor, Tensor]:
        pictures = pictures.to(device, memory_format=torch.channels_last)
        with torch.autocast(pictures.device.type, torch.bfloat16, enabled=half):
            return autoencoder.encode(pictures), image_encoder(pictures)[:, 0]

    origin = LatentsOrigin(*names, config.image_size, index.digest)
    written = write_latents(
        folder,
        encode,
        origin,
        precision=str(config.encoding.precision),
        batch_size=config.encoding.batch_size,
        max_bad=config.data.max_bad,
    )
    log.info("latents of %d clips at %d pixels in %s", len(index.samples), config.image_size, written)
