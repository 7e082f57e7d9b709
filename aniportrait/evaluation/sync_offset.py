"""The offset between lips and sound, as SyncNet sees it."""

from torch import Tensor

from aniportrait.evaluation.syncnet_metric import SyncNetMetric


class SyncOffset(SyncNetMetric):
    """SyncNet's AV offset, frames of 1/25 s: positive where the sound comes early, 0 in sync, -15 to 15.

    The mean over clips keeps the sign: it shows the delay that a system has throughout, `per_clip` what varies.
    """

    unit = "frames"
    digits = 2

    @staticmethod
    def statistic(distances: Tensor) -> Tensor:
        return len(distances) // 2 - distances.argmin()
