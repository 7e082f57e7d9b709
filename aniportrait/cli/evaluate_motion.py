"""Scores of step two of Lmk2Video: clips, beside step one frame by frame."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from omegaconf import DictConfig
from torch import Tensor
from tqdm import tqdm

from aniportrait.checkpoints.store import Weights
from aniportrait.cli.pipelines import face_landmarker, portrait_pipeline
from aniportrait.cli.portrait_trials import Trial, pictures, sampled, trial_settings, window_of_clip
from aniportrait.data.media import write_video
from aniportrait.data.shards import ShardIndex
from aniportrait.evaluation.detected_suite import DetectedSuite, missing_faces
from aniportrait.evaluation.face_regions import face_boxes
from aniportrait.evaluation.motion_suite import MotionSuite
from aniportrait.evaluation.report_sections import Column, Part, Row, Table, Video
from aniportrait.evaluation.seeded import Seeded
from aniportrait.evaluation.suite import PortraitSuite
from aniportrait.face.landmarks import FaceLandmarker
from aniportrait.pipelines.detected_faces import detected_faces
from aniportrait.pipelines.portrait import PortraitPipeline, SamplingSettings, tensor_to_images

QUALITY = (
    Column("face L1", "of [0, 1]", higher_is_better=False, digits=4),
    Column("PSNR", "dB", higher_is_better=True, digits=2),
    Column("SSIM", higher_is_better=True),
    Column("landmark distance", "% of the face", higher_is_better=False, digits=2),
    Column("no face found", "frames"),
)
MOTION = (
    Column("flicker, mouth", "of [0, 1]", higher_is_better=False, digits=4),
    Column("flicker, background", "of [0, 1]", higher_is_better=False, digits=4),
    Column("flicker, whole", "of [0, 1]", higher_is_better=False, digits=4),
    Column("of frame by frame's, mouth", "flicker", higher_is_better=False),
    Column("of frame by frame's, background", "flicker", higher_is_better=False),
    Column("change, mouth", "of the truth's"),
    Column("change, background", "of the truth's"),
    Column("mouth motion", "of the truth's"),
    Column("mouth opening spread", "of the truth's"),
    Column("mouth opening correlation", higher_is_better=True),
)
ROWS = {
    "moving": ("stage 2", "ours"),
    "fresh": ("stage 1, frame by frame", "baseline"),
    "shared": ("stage 1, the same noise for all frames", "baseline"),
    "copy": ("copying the reference", "baseline"),
    "truth": ("truth", "bound"),
}


@dataclass(frozen=True)
class SystemScores:
    """One system's suites, by sampling seed: of its pictures, of their motion, of the faces detected on them."""

    frames: Seeded = field(default_factory=lambda: Seeded(PortraitSuite))
    motion: Seeded = field(default_factory=lambda: Seeded(MotionSuite))
    faces: Seeded = field(default_factory=lambda: Seeded(DetectedSuite))


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
    sections = [
        _quality(systems),
        _motion(systems, moving, trials, settings, config),
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


def _quality(systems: dict[str, SystemScores]) -> Table:
    rows = []
    for name, (title, kind) in ROWS.items():
        ours = systems[name]
        scores = [ours.frames.score(figure) for figure in ("face_l1", "psnr", "ssim")]
        cells = [*scores, ours.faces.score("landmark_distance"), missing_faces(ours.faces.suites)]
        rows.append(Row(title, cells, kind))  # pyright: ignore[reportArgumentType]
    return Table("stage 2", QUALITY, rows)


def _motion(
    systems: dict[str, SystemScores],
    moving: PortraitPipeline,
    trials: Sequence[Trial],
    settings: SamplingSettings,
    config: DictConfig,
) -> Table:
    rows = []
    for name, (title, kind) in ROWS.items():
        ours, fresh = systems[name], systems["fresh"].motion
        cells = [
            *(ours.motion.score(f"flicker_{region}") for region in ("mouth", "background", "whole")),
            *(ours.motion.ratio(f"flicker_{region}", fresh) for region in ("mouth", "background")),
            *(ours.motion.score(f"change_{region}") for region in ("mouth", "background")),
            ours.motion.score("motion_mouth"),
            *(ours.faces.score(f"mouth_opening_{figure}") for figure in ("spread", "correlation")),
        ]
        rows.append(Row(title, cells, kind))  # pyright: ignore[reportArgumentType]
    note = (
        f"The last {moving.windows.context_length} frames of {len(trials)} clips, the reference a random frame before "
        f"them; {settings.steps} steps, guidance {settings.guidance_scale:g}, {config.sampling_seeds} sampling "
        f"seed(s). Stage 2 shares {settings.shared_noise:.0%} of the noise between frames, stage 1 frame by frame "
        "nothing. Flicker: mean absolute difference between the change from frame to frame and the true change, RGB "
        "in [0, 1]; a frozen picture scores the true change. Change: what changes from frame to frame, whether it "
        "should or not. Background: outside the face's box. Mouth motion: standard deviation over time of the mouth's "
        "pixels; opening: of the lips detected again, in frames where both faces were found. n counts clips."
    )
    return Table("stage 2, motion", MOTION, rows, note)


def _write_side_by_side(columns: Sequence[Tensor], path: Path, fps: float) -> None:
    """A video of (f, 3, h, w) columns next to one another, at least 256 pixels high."""
    frames = tensor_to_images(rearrange(torch.stack(list(columns)), "k f c h w -> f c h (k w)"))
    enlarge = max(1, 256 // frames.shape[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(
        path, [np.repeat(np.repeat(frame, enlarge, axis=0), enlarge, axis=1) for frame in frames], fps
    )
