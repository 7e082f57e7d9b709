"""Two systems on the same clips: the difference, and how sure it is."""

from collections.abc import Mapping

import numpy as np

from aniportrait.evaluation.scores import Score, bootstrap_interval


def common_clips(systems: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Clips for which every system has a figure, by name."""
    clips = [set(figures) for figures in systems.values()]
    return sorted(set.intersection(*clips)) if clips else []


def over_common_clips(figures: Mapping[str, float], clips: list[str], given: int, seed: int = 0) -> Score:
    """The mean of one system over clips that others have as well."""
    values = np.array([figures[clip] for clip in clips], dtype=np.float64)
    value = float(values.mean()) if len(values) else float("nan")
    return Score(value, len(values), given, bootstrap_interval(values, seed))


def paired_difference(
    figures: Mapping[str, float], others: Mapping[str, float], clips: list[str], given: int, seed: int = 0
) -> Score:
    """Mean over clips of a system's figure less the other's; the interval is that of the differences, clip by clip.

    What clips have in common, some being harder than others, drops out of it: two systems may differ surely though
    the intervals of their means overlap.
    """
    differences = {clip: figures[clip] - others[clip] for clip in clips}
    return over_common_clips(differences, clips, given, seed)
