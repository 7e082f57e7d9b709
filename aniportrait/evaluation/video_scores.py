"""Scores of systems over clips, from what was measured of each."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from aniportrait.evaluation.measured_clips import MeasuredClip
from aniportrait.evaluation.scores import Score
from aniportrait.evaluation.video_metric import ClipMeanMetric, VideoMetric


@dataclass
class VideoScores:
    """What came out.

    Args:
        scores: (system, metric) -> figure, with the clips scored of those given.
        clips: clip -> system -> metric -> figure; only of metrics that have one per clip.
        reasons: (system, metric) -> reason -> clips that it kept from being scored.
        remarks: clip -> what was left out of it.
        notes: (system, metric) -> what has to be said beside its figure.
        failures: clip -> why it could not be read; it is in no figure.
    """

    scores: dict[tuple[str, str], Score] = field(default_factory=dict)
    clips: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    reasons: dict[tuple[str, str], dict[str, list[str]]] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)
    notes: dict[tuple[str, str], str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def score_clips(
    clips_of: Callable[[str], Iterable[tuple[str, MeasuredClip]]],
    systems: Sequence[str],
    metrics: Mapping[str, VideoMetric],
    given: int,
    seed: int = 0,
) -> VideoScores:
    """Scores of every system by every metric.

    Clips are taken one at a time, in the order in which they come. The order decides the last digits of a sum:
    whoever wants the same figures gives the same order.

    Args:
        clips_of: system -> its measured clips and their keys.
        given: clips that were to be scored, with those that could not be read.
        seed: of the resampling behind the intervals.
    """
    answer = VideoScores()
    for system in systems:
        counts = _take(clips_of(system), system, metrics, answer)
        for name, count in counts.items():
            answer.scores[system, name] = _score(metrics[name], count, given, seed)
            if metrics[name].note:
                answer.notes[system, name] = metrics[name].note
            metrics[name].reset()
    return answer


def _take(
    clips: Iterable[tuple[str, MeasuredClip]],
    system: str,
    metrics: Mapping[str, VideoMetric],
    answer: VideoScores,
) -> dict[str, int]:
    """Update the metrics with a system's clips; clips scored by each metric that applies to it."""
    counts: dict[str, int] = {}
    for key, clip in clips:
        if clip.remark:
            answer.remarks[key] = clip.remark
        for (_, name), reason in clip.reasons.items():
            answer.reasons.setdefault((system, name), {}).setdefault(reason, []).append(key)
            counts.setdefault(name, 0)
        for (_, name), measured in clip.tensors.items():
            metric = metrics[name]
            metric.update(measured)
            counts[name] = counts.get(name, 0) + 1
            if isinstance(metric, ClipMeanMetric):
                answer.clips.setdefault(key, {}).setdefault(system, {})[name] = float(measured["figure"])
    return counts


def _score(metric: VideoMetric, scored: int, given: int, seed: int) -> Score:
    if scored == 0:
        return Score(math.nan, 0, given)
    if not isinstance(metric, ClipMeanMetric):
        return Score(float(metric.compute()), scored, given)
    score = Score.over_clips(metric.per_clip.tolist(), seed)
    return Score(score.value, scored, given, score.interval)
