"""Sync-D: how near lips and sound come to each other at their best shift."""

from torch import Tensor

from aniportrait.evaluation.syncnet_metric import SyncNetMetric


class SyncD(SyncNetMetric):
    """SyncNet's distance (LSE-D): the least over the shifts of the mean distance."""

    higher_is_better = False

    @staticmethod
    def statistic(distances: Tensor) -> Tensor:
        return distances.min()
