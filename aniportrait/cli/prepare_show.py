"""python prepare.py step=show: what is in a data set, as a table, and a picture of samples with their landmarks."""

import logging
import sys
from pathlib import Path

from omegaconf import DictConfig
from PIL import Image

from aniportrait.data.contact_sheet import contact_sheet, sample_table
from aniportrait.data.mixture import one_folder
from aniportrait.data.shards import ShardIndex

log = logging.getLogger(__name__)


def show_shards(config: DictConfig) -> None:
    """Print the samples of `config.data.folder`, and write a contact sheet to `config.out` (a png, or a folder)."""
    index = ShardIndex.load(one_folder(config.data.folder, "step=show"))
    sys.stdout.write(sample_table(index) + "\n")
    sheet = contact_sheet(index, config.show.samples)
    out = Path(config.out)
    out = out if out.suffix == ".png" else out / "show.png"
    out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet).save(out)
    log.info("%s", out)
