"""A validation figure as the mean over the samples of all ranks."""

from lightning import LightningModule
from torch import Tensor


def log_mean(
    module: LightningModule, name: str, value: Tensor | float, count: int, shown: bool = True
) -> None:
    """Log `value`, the mean of `count` samples of this rank; every rank must call it, with 0 samples too.

    Lightning weighs by the ranks' mean number of samples, a whole number rounded down: 0 for one sample on two ranks.
    Their number times the ranks has a whole mean. `shown` figures stand beside the progress bar as well.
    """
    weight = count * module.trainer.world_size
    module.log(name, value, prog_bar=shown, batch_size=weight, sync_dist=True)
