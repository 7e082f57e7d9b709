"""Sync-C: how clearly one shift of lips against sound is better than the others."""

from torch import Tensor

from aniportrait.evaluation.syncnet_metric import SyncNetMetric


class SyncC(SyncNetMetric):
    """SyncNet's confidence (LSE-C): median over the shifts of the mean distance, less the least.

    It is as high for sound that comes a constant time late: read it beside SyncOffset. Models trained against SyncNet
    exceed filmed speech.
    """

    higher_is_better = True

    @staticmethod
    def statistic(distances: Tensor) -> Tensor:
        return distances.median() - distances.min()
