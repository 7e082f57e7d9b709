"""python download.py: the published checkpoints, from the hub to a folder."""

import logging
from pathlib import Path

from omegaconf import DictConfig

from aniportrait.checkpoints.download import ANIMATING, TRAINING, download_files

log = logging.getLogger(__name__)


def download(config: DictConfig) -> None:
    """Fill `config.out`, laid out as convert.py and training expect it."""
    download_files((*ANIMATING, *TRAINING) if config.training else ANIMATING, Path(config.out))
    log.info("next: python convert.py published=%s out=weights/aniportrait", config.out)
