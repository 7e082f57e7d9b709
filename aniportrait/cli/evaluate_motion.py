"""Scores of step two of Lmk2Video: clips, beside step one frame by frame."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from einops import rearrange
from omegaconf import DictConfig
from torch import Tensor
from tqdm import tqdm

from aniportrait.checkpoints.store import Weights
from aniportrait.cli.pipelines import face_landmarker, portrait_pipeline
from aniportrait.cli.portrait_trials import (
    Trial,
    pictures,
    round_trip,
    sampled,
    trial_settings,
    window_of_clip,
)
from aniportrait.data.media import write_video
from aniportrait.data.shards import ShardIndex
from aniportrait.evaluation.detected_suite import DetectedSuite, missing_faces
from aniportrait.evaluation.face_regions import face_boxes
from aniportrait.evaluation.motion_suite import REGIONS, MotionSuite
from aniportrait.evaluation.report_sections import Column, Part, Row, Table, Video
from aniportrait.evaluation.scores import Score
from aniportrait.evaluation.seeded import Seeded
from aniportrait.evaluation.suite import PortraitSuite
from aniportrait.face.landmarks import FaceLandmarker
from aniportrait.pipelines.detected_faces import detected_faces
from aniportrait.pipelines.portrait import PortraitPipeline, tensor_to_images
from aniportrait.pipelines.sampling_settings import SamplingSettings

QUALITY = (
    Column("face L1", "of [0, 1]", higher_is_better=False, digits=4),
    Column("PSNR", "dB", higher_is_better=True, digits=2),
    Column("SSIM", higher_is_better=True),
)
FLICKER = (
    *(Column(f"flicker, {region}", "of [0, 1]", higher_is_better=False, digits=4) for region in REGIONS),
    *(Column(f"flicker, {region}, of frame by frame's", higher_is_better=False) for region in REGIONS),
    *(Column(f"change, {region}", "of the truth's") for region in REGIONS),
    *(Column(f"change, {region}, of frame by frame's") for region in REGIONS),
)
TREMBLING = (
    *(Column(f"trembling, {region}", "of [0, 1]", higher_is_better=False, digits=4) for region in REGIONS),
    *(Column(f"trembling, {region}, of frame by frame's", higher_is_better=False) for region in REGIONS),
)
MOUTH = (
    Column("mouth motion", "of the truth's"),
    Column("mouth opening spread", "of the truth's"),
    Column("mouth opening correlation", higher_is_better=True),
    Column("landmark distance", "% of the face", higher_is_better=False, digits=2),
    Column("no face found", "frames"),
)
FLICKER_NOTE = (
    "Flicker: mean absolute difference between the change from frame to frame and the true change, RGB in [0, 1]: what "
    "changes and should not, or should and does not; a frozen picture scores the true change. Change: all that changes "
    "from frame to frame, 1 as much as in the truth. Background: outside the face's box."
)
TREMBLING_NOTE = (
    "Trembling: mean absolute difference between the changes from frame to frame of two sampling seeds, RGB in [0, 1]: "
    "what the noise alone changes. Motion that follows the landmarks is the same in both and does not count, nor does "
    "the truth; a frozen picture has none, so read it beside the mouth's motion."
)
MOUTH_NOTE = (
    "Mouth motion: standard deviation over time of the pixels in the mouth's box; flicker raises it too. Opening: of "
    "the lips detected again, in frames where a face was found on ours and on the truth. Landmark distance: from the "
    "driving landmarks, in % of the root of the face box's area."
)
ROWS: dict[str, tuple[str, Literal["ours", "baseline", "bound"]]] = {
    "moving": ("stage 2", "ours"),
    "fresh": ("stage 1, frame by frame", "baseline"),
    "shared": ("stage 1, the same noise for all frames", "baseline"),
    "copy": ("copying the reference", "baseline"),
    "floor": ("floor: the autoencoder's round trip", "bound"),
    "truth": ("truth", "bound"),
}


@dataclass(frozen=True)
class SystemScores:
    """One system's suites, by sampling seed: of its pictures, of their motion, of the faces detected on them.

    `trembling` holds each seed's motion against the next seed's instead of the truth's.
    """

    frames: Seeded = field(default_factory=lambda: Seeded(PortraitSuite))
    motion: Seeded = field(default_factory=lambda: Seeded(MotionSuite))
    faces: Seeded = field(default_factory=lambda: Seeded(DetectedSuite))
    trembling: Seeded = field(default_factory=lambda: Seeded(MotionSuite))


def evaluate_motion(weights: Weights, index: ShardIndex, config: DictConfig) -> Part:
    """Windows of clips: with motion modules, and as step one makes them."""
    moving = portrait_pipeline(weights, config, motion=True)
    still = portrait_pipeline(weights, config, motion=False)
    settings = trial_settings(weights, config)
    trials = _windows(index, moving.windows.context_length, config)
    if not trials:
        return Part(
            "Clips", [], text="No clip of this split is long enough for a window of the motion modules."
        )
    systems = {name: SystemScores() for name in ROWS}
    video = Path(config.out) / "samples" / "stage2.mp4"
    with face_landmarker(config.paths, "image") as landmarker:
        for number, trial in enumerate(tqdm(trials, "stage 2", unit="clip")):
            made = _made(moving, still, trial, settings)
            _score_window(systems, made, trial, landmarker, index.image_size)
            if number == 0:
                drawn = moving.pose_images(trial.landmarks)
                columns = (
                    made["copy"],
                    drawn[None],
                    made["fresh"],
                    made["shared"],
                    made["moving"],
                    made["truth"],
                )
                _write_side_by_side([column[0] for column in columns], video, index.fps)
    clips = f"{len(trials)} of the split's {len(index.of_split(config.split))} clips"
    note = _note(moving.windows.context_length, clips, settings, config.sampling_seeds)
    sections = [
        *_tables(systems, note),
        Video("Reference, landmarks, stage 1 frame by frame, with the same noise, stage 2, truth", video),
    ]
    return Part("Clips", sections)


def _windows(index: ShardIndex, length: int, config: DictConfig) -> list[Trial]:
    """The first `motion_clips` clips that have a window."""
    trials: list[Trial] = []
    for entry in index.of_split(config.split):
        if len(trials) == config.motion_clips:
            break
        if (trial := window_of_clip(index, entry, length, config)) is not None:
            trials.append(trial)
    return trials


def _made(
    moving: PortraitPipeline, still: PortraitPipeline, trial: Trial, settings: SamplingSettings
) -> dict[str, Tensor]:
    """System -> (seeds, f, 3, h, w) in [-1, 1]."""
    truth, reference = pictures(trial, moving.image_size)
    return {
        "moving": sampled(moving, trial, trial.landmarks, settings),
        "fresh": sampled(still, trial, trial.landmarks, replace(settings, shared_noise=0.0)),
        "shared": sampled(still, trial, trial.landmarks, replace(settings, shared_noise=1.0)),
        "copy": reference.expand_as(truth)[None],
        "floor": round_trip(moving, truth)[None],
        "truth": truth[None],
    }


def _score_window(
    systems: dict[str, SystemScores],
    made: dict[str, Tensor],
    trial: Trial,
    landmarker: FaceLandmarker,
    measured_size: int,
) -> None:
    truth, landmarks = made["truth"], torch.from_numpy(trial.landmarks)
    true_faces = detected_faces(landmarker, truth[0], measured_size)
    for name, scores in systems.items():
        for seed, frames in enumerate(made[name]):
            scores.frames.of(seed).update(frames[None], truth, face_boxes(landmarks)[None])
            scores.motion.of(seed).update(frames[None], truth, landmarks[None])
            faces = detected_faces(landmarker, frames, measured_size)
            scores.faces.of(seed).update(faces, landmarks, true_faces)
        for number, (frames, other) in enumerate(pairwise(made[name])):
            scores.trembling.of(number).update(frames[None], other[None], landmarks[None])


def _tables(systems: dict[str, SystemScores], note: str) -> list[Table]:
    def rows(cells: Callable[[SystemScores], list[Score | float | str | None]]) -> list[Row]:
        return [Row(title, cells(systems[name]), kind) for name, (title, kind) in ROWS.items()]

    def flicker(ours: SystemScores) -> list[Score | float | str | None]:
        cells: list[Score | float | str | None] = []
        for figure in ("flicker", "change"):
            names = [f"{figure}_{region}" for region in REGIONS]
            cells += [ours.motion.score(name) for name in names]
            cells += [ours.motion.ratio(name, systems["fresh"].motion) for name in names]
        return cells

    def mouth(ours: SystemScores) -> list[Score | float | str | None]:
        figures = ("mouth_opening_spread", "mouth_opening_correlation", "landmark_distance")
        scores = [ours.faces.score(name) for name in figures]
        return [ours.motion.score("motion_mouth"), *scores, missing_faces(ours.faces.suites)]

    def quality(ours: SystemScores) -> list[Score | float | str | None]:
        return [ours.frames.score(name) for name in ("face_l1", "psnr", "ssim")]

    def trembling(ours: SystemScores) -> list[Score | float | str | None]:
        names = [f"flicker_{region}" for region in REGIONS]
        if not ours.trembling.suites:  # nothing is drawn
            return [None] * len(TREMBLING)
        scores = [ours.trembling.score(name) for name in names]
        return [*scores, *(ours.trembling.ratio(name, systems["fresh"].trembling) for name in names)]

    tables = [
        Table("stage 2", QUALITY, rows(quality), note),
        Table("stage 2, flicker", FLICKER, rows(flicker), FLICKER_NOTE),
        Table("stage 2, mouth", MOUTH, rows(mouth), MOUTH_NOTE),
    ]
    if systems["fresh"].trembling.suites:
        tables.append(Table("stage 2, trembling", TREMBLING, rows(trembling), TREMBLING_NOTE))
    return tables


def _note(length: int, clips: str, settings: SamplingSettings, seeds: int) -> str:
    return (
        f"The last {length} frames of {clips}, the reference a random frame before them; {settings.steps} steps, "
        f"guidance {settings.guidance_words}, {seeds} sampling "
        f"seed(s). Stage 2 shares {settings.shared_noise:.0%} "
        "of the noise between frames, stage 1 frame by frame nothing. Clips too short for it are left out. n counts "
        "clips."
    )


def _write_side_by_side(columns: Sequence[Tensor], path: Path, fps: float) -> None:
    """A video of (f, 3, h, w) columns next to one another, at least 256 pixels high."""
    frames = tensor_to_images(rearrange(torch.stack(list(columns)), "k f c h w -> f c h (k w)"))
    enlarge = max(1, 256 // frames.shape[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(
        path, [np.repeat(np.repeat(frame, enlarge, axis=0), enlarge, axis=1) for frame in frames], fps
    )
