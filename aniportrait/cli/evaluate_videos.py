"""python evaluate.py videos.generated=DIR: any videos scored, beside the real ones, by every metric that is here."""

import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from aniportrait.cli.pipelines import face_landmarker
from aniportrait.cli.shares import one_thread, run_shares
from aniportrait.cli.video_report import write_video_results
from aniportrait.data.sound import MediaError
from aniportrait.evaluation.measured_clips import MeasuredClip, MeasuredFolder, measure
from aniportrait.evaluation.video_files import PairFiles, detected, pairs_of_folders, read_pair
from aniportrait.evaluation.video_metric import ClipMeanMetric, MissingBackendError, VideoMetric
from aniportrait.evaluation.video_pair import ScoredVideo
from aniportrait.evaluation.video_scores import score_clips
from aniportrait.evaluation.video_systems import (
    COPY,
    DISTORTIONS,
    DRIVING,
    GENERATED,
    REAL,
    distorted_systems,
    systems_of,
)
from aniportrait.face.landmarks import FaceLandmarker

log = logging.getLogger(__name__)


def evaluate_videos(config: DictConfig) -> None:
    """Measure every clip that is not measured yet, then write out/results.json and out/report.html."""
    metrics, skipped = available_metrics(config)
    if not metrics:
        raise ValueError(f"none of the metrics can be computed here: {'; '.join(skipped.values())}")
    scoring = VideoScoring(config, metrics)
    clips, todo = len(scoring.files), scoring.todo()
    if len(todo) < clips:
        log.info("%d of %d clips are measured already", clips - len(todo), clips)
    if todo:
        share = partial(_measure_share, metrics=metrics if config.processes == 1 else None, todo=todo)
        run_shares(share, config)
    failures = scoring.failures()
    with one_thread():
        scores = score_clips(scoring.measured, scoring.systems, metrics, clips, config.seed)
    scores.failures.update(failures)
    write_video_results(config, scoring.files, metrics, skipped, scores)


def check_settings(config: DictConfig) -> None:
    """ValueError where a setting names or needs what is not there; said before hours of work."""
    for setting, names in (
        ("only", config.only or []),
        ("rank_by", [config.rank_by] if config.rank_by else []),
    ):
        if unknown := sorted(set(names) - set(config.metrics)):
            raise ValueError(f"{setting}={','.join(unknown)} must name some of {', '.join(config.metrics)}")
    if config.videos.distortions and config.videos.real is None:
        raise ValueError("videos.distortions=true damages real videos and needs videos.real=DIR")


def available_metrics(config: DictConfig) -> tuple[dict[str, VideoMetric], dict[str, str]]:
    """The metrics that can be computed here, and of the others why not and what to do."""
    check_settings(config)
    metrics: dict[str, VideoMetric] = {}
    skipped: dict[str, str] = {}
    for name, node in config.metrics.items():
        if node is None or (config.only is not None and name not in config.only):
            continue
        try:
            metric = instantiate(node)
        except InstantiationException as error:
            if not isinstance(error.__cause__, MissingBackendError):
                raise
            skipped[name] = str(error.__cause__)
            continue
        absent = [
            need for need in ("real", "reference") if need in metric.needs and config.videos[need] is None
        ]
        if absent:
            skipped[name] = " and ".join(f"needs videos.{need}=DIR" for need in absent)
        else:
            metrics[name] = metric
    ranks = [
        name
        for name, metric in metrics.items()
        if isinstance(metric, ClipMeanMetric) and metric.higher_is_better is not None
    ]
    if config.rank_by and config.rank_by not in ranks:
        raise ValueError(
            f"rank_by={config.rank_by} must be computed here, clip by clip, and have a better: {', '.join(ranks)}"
        )
    return metrics, skipped


def _measure_share(
    rank: int,
    world: int,
    device: torch.device,
    config: DictConfig,
    metrics: dict[str, VideoMetric] | None,
    todo: list[PairFiles],
) -> None:
    """Measure every n-th of the clips with these metrics, or in a process of its own with metrics of its own."""
    scoring = VideoScoring(config, metrics or available_metrics(config)[0])
    scoring.measure(todo[rank::world], device, shown=rank == 0)


class VideoScoring:
    """The clips of a configuration and what was measured of each, kept below out/measured.

    Args:
        metrics: those that are computed, by name.
    """

    def __init__(self, config: DictConfig, metrics: dict[str, VideoMetric]):
        self.config = config
        self.metrics = metrics
        videos = config.videos
        self.files = pairs_of_folders(videos.generated, videos.real, videos.reference, videos.driving)
        self._next = dict(zip(self.files, (*self.files[1:], self.files[0]), strict=True))
        self.folder = MeasuredFolder(Path(config.out) / "measured")

    @property
    def systems(self) -> list[str]:
        """The rows, in the table's order."""
        videos = self.config.videos
        there = {
            GENERATED: True,
            REAL: videos.real,
            DRIVING: videos.driving,
            COPY: videos.real or videos.reference,
            **dict.fromkeys(DISTORTIONS, videos.real and videos.distortions),
        }
        return [system for system, given in there.items() if given]

    def todo(self) -> list[PairFiles]:
        """The clips that are not measured."""
        return [pair for pair in self.files if self._finished(pair, "") is None]

    def measure(self, clips: list[PairFiles], device: torch.device, shown: bool) -> None:
        """Measure these clips, with a progress bar if it is to be shown."""
        for metric in self.metrics.values():
            metric.to(device)
        with face_landmarker(self.config.paths, "image") as landmarker:
            for pair in tqdm(clips, "scoring", unit="clip", disable=not shown):
                known = self._fingerprint(pair)  # before measuring: a video may change meanwhile
                self.folder.write(pair.key, self._measure(pair, landmarker), known)

    def failures(self) -> dict[str, str]:
        """Clip -> why it could not be read; ValueError where they are more than is tolerated."""
        failures = {}
        for pair in self.files:
            clip = self.folder.read(pair.key, self._fingerprint(pair), "")
            if clip is None or clip.failure:
                failures[pair.key] = "not measured" if clip is None else str(clip.failure)
        bound = self.config.videos.max_failed
        if len(failures) > bound * len(self.files):
            some = "; ".join(f"{key}: {why}" for key, why in list(failures.items())[:3])
            raise ValueError(
                f"{len(failures)} of {len(self.files)} clips cannot be scored, more than videos.max_failed={bound:g} "
                f"allows: {some}"
            )
        return failures

    def measured(self, system: str) -> Iterator[tuple[str, MeasuredClip]]:
        """A system's clips in order of their names, whoever measured them."""
        for pair in self.files:
            if (clip := self._finished(pair, system)) is not None:
                yield pair.key, clip

    def _measure(self, pair: PairFiles, landmarker: FaceLandmarker) -> MeasuredClip:
        """What a clip's videos say, or why they cannot be read."""
        videos = self.config.videos
        try:
            read, remark = read_pair(pair, landmarker, videos.size, videos.fps)
        except (MediaError, ValueError, OSError) as error:
            log.warning("%s cannot be scored: %s", pair.key, error)
            return MeasuredClip(failure=str(error))
        detect = partial(detected, landmarker=landmarker, fps=read.generated.fps)
        clip = measure(systems_of(read, detect), self.metrics, remark)
        if videos.distortions and read.real is not None:
            other = self._other_real(pair, landmarker, read.generated.fps)
            for name, distorted in distorted_systems(read, other, detect):  # one at a time in memory
                clip.add(measure({name: distorted}, self.metrics))
        return clip

    def _other_real(self, pair: PairFiles, landmarker: FaceLandmarker, fps: float) -> ScoredVideo | None:
        """The next clip's real video; None where there is no other, or it cannot be read."""
        following = self._next[pair]
        if following == pair:
            return None
        try:
            return read_pair(following, landmarker, self.config.videos.size, fps)[0].real
        except (MediaError, ValueError, OSError):
            return None  # it is named as a failure of its own

    def _finished(self, pair: PairFiles, system: str) -> MeasuredClip | None:
        clip = self.folder.read(pair.key, self._fingerprint(pair), system)
        return None if clip is None or clip.failure else clip

    def _fingerprint(self, pair: PairFiles) -> list[Any]:
        """Changes with the videos and with all that their measures depend on."""
        videos = self.config.videos
        return [
            pair.fingerprint,
            self._next[pair].fingerprint if videos.distortions else None,
            [videos.size, videos.fps, self.config.device, self.config.paths.face_landmarker],
            [[name, self._backend(name)] for name in self.metrics],
        ]

    def _backend(self, name: str) -> Any:
        return [
            self.metrics[name].backend,
            OmegaConf.to_container(self.config.metrics[name], resolve=True),
        ]
