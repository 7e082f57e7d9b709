"""Scores of step one of Lmk2Video: single frames, beside copying the reference and under other landmarks."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor
from tqdm import tqdm

from aniportrait.checkpoints.store import Weights
from aniportrait.cli.pipelines import face_landmarker, portrait_pipeline
from aniportrait.cli.portrait_trials import (
    Trial,
    pairs_of_clips,
    pictures,
    round_trip,
    sampled,
    trial_settings,
)
from aniportrait.data.shards import ShardIndex
from aniportrait.evaluation.detected_suite import DetectedSuite, missing_faces
from aniportrait.evaluation.face_regions import face_boxes
from aniportrait.evaluation.report_sections import Column, Images, Part, Row, Table
from aniportrait.evaluation.seeded import Seeded
from aniportrait.evaluation.suite import PortraitSuite
from aniportrait.face.track import FaceTrack
from aniportrait.pipelines.detected_faces import detected_faces
from aniportrait.pipelines.portrait import PortraitPipeline, tensor_to_images
from aniportrait.pipelines.sampling_settings import SamplingSettings

COLUMNS = (
    Column("face L1", "of [0, 1]", higher_is_better=False, digits=4),
    Column("of the next clip's", "face L1", higher_is_better=False),
    Column("of copying's", "face L1", higher_is_better=False),
    Column("landmark distance", "% of the face", higher_is_better=False, digits=2),
    Column("of the reference's", "landmark distance", higher_is_better=False),
    Column("no face found", "frames"),
    Column("PSNR", "dB", higher_is_better=True, digits=2),
    Column("SSIM", higher_is_better=True),
)
SAMPLED = ("ours", "next", "furthest")
"""Systems that differ in landmarks alone: the target's, the next clip's, the furthest of the same clip."""

Detect = Callable[[Tensor], FaceTrack]


@dataclass(frozen=True)
class SystemScores:
    """One system's suites, by sampling seed.

    Args:
        frames: of its pictures against the true ones.
        faces: of the faces detected on them.
        reference_faces: of the faces detected on the reference, against the same driving landmarks.
    """

    frames: Seeded = field(default_factory=lambda: Seeded(PortraitSuite))
    faces: Seeded = field(default_factory=lambda: Seeded(DetectedSuite))
    reference_faces: Seeded = field(default_factory=lambda: Seeded(DetectedSuite))


def evaluate_stage1(weights: Weights, index: ShardIndex, config: DictConfig) -> Part:
    """One frame or more of every clip, from a reference earlier in the clip."""
    pipeline = portrait_pipeline(weights, config, motion=False)
    settings = trial_settings(weights, config)
    settings = replace(settings, shared_noise=1.0)  # the same noise under all landmarks
    clips = pairs_of_clips(index, config)
    systems = {name: SystemScores() for name in (*SAMPLED, "copy", "floor", "truth")}
    grid = []
    with face_landmarker(config.paths, "image") as landmarker:
        for number, pairs in enumerate(tqdm(clips, "stage 1", unit="clip")):
            elsewhere = clips[(number + 1) % len(clips)]
            driving = _driving(pairs, elsewhere)
            truth, references, made = _made(pipeline, pairs, driving, settings)
            score_clip(
                systems,
                made,
                truth,
                driving,
                lambda frames: detected_faces(landmarker, frames, index.image_size),
            )
            if len(grid) < 8:
                grid.append(_picture_row(pipeline, pairs[0], references, made, truth))
    captions = ("reference", "landmarks", "stage 1", "truth", "under the furthest", "under the next clip's")
    images = Images("Frames", grid, column_captions=captions)
    return Part("Single frames", [_table(systems, pipeline, settings, config), images])


def score_clip(
    systems: dict[str, SystemScores],
    made: dict[str, Tensor],
    truth: Tensor,
    driving: dict[str, Tensor],
    detect: Detect,
) -> None:
    """Scores one clip's frames.

    Args:
        made: system -> (seeds, f, 3, h, w) in [-1, 1]; "copy" holds the references.
        truth: (f, 3, h, w).
        driving: system of SAMPLED -> (f, 478, 3) landmarks in [0, 1]; others are held against those of "ours".
    """
    boxes = face_boxes(driving["ours"])[None]
    found = {name: [detect(frames) for frames in samplings] for name, samplings in made.items()}
    for name, samplings in made.items():
        points = driving.get(name, driving["ours"])
        for seed, frames in enumerate(samplings):
            systems[name].frames.of(seed).update(frames[None], truth[None], boxes)
            systems[name].faces.of(seed).update(found[name][seed], points, found["truth"][0])
        systems[name].reference_faces.of(0).update(found["copy"][0], points, found["truth"][0])


def _driving(pairs: list[Trial], elsewhere: list[Trial]) -> dict[str, Tensor]:
    """System -> (f, 478, 3): one face for each pair."""
    others = [elsewhere[number % len(elsewhere)] for number in range(len(pairs))]
    landmarks = {
        "ours": [pair.landmarks for pair in pairs],
        "next": [other.landmarks for other in others],
        "furthest": [pair.sample.track.landmarks[pair.furthest] for pair in pairs],
    }
    return {name: torch.from_numpy(np.concatenate(faces)) for name, faces in landmarks.items()}


def _made(
    pipeline: PortraitPipeline, pairs: list[Trial], driving: dict[str, Tensor], settings: SamplingSettings
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """True frames and references (f, 3, h, w), and each system's (seeds, f, 3, h, w); a batch of samplings a pair."""
    seen = [pictures(pair, pipeline.image_size) for pair in pairs]
    truth, references = (torch.cat(parts) for parts in zip(*seen, strict=True))
    batches = [
        sampled(pipeline, pair, np.stack([driving[name][number].numpy() for name in SAMPLED]), settings)
        for number, pair in enumerate(pairs)
    ]
    made = {
        name: torch.stack([batch[:, place] for batch in batches], dim=1) for place, name in enumerate(SAMPLED)
    }
    made |= {"copy": references[None], "floor": round_trip(pipeline, truth)[None], "truth": truth[None]}
    return truth, references, made


def _table(
    systems: dict[str, SystemScores],
    pipeline: PortraitPipeline,
    settings: SamplingSettings,
    config: DictConfig,
) -> Table:
    def row(name: str, title: str, kind: Literal["ours", "baseline", "control", "bound"] = "ours") -> Row:
        ours = systems[name]
        return Row(
            title,
            [
                ours.frames.score("face_l1"),
                ours.frames.ratio("face_l1", systems["next"].frames),
                ours.frames.ratio("face_l1", systems["copy"].frames),
                ours.faces.score("landmark_distance"),
                ours.faces.ratio("landmark_distance", ours.reference_faces),
                missing_faces(ours.faces.suites),
                ours.frames.score("psnr"),
                ours.frames.score("ssim"),
            ],
            kind,
        )

    rows = [
        row("ours", "stage 1"),
        row("copy", "copying the reference", "baseline"),
        row("next", "stage 1, landmarks of the next clip", "control"),
        row("furthest", "stage 1, furthest pose of the clip", "control"),
        row("floor", "floor: the autoencoder's round trip", "bound"),
        row("truth", "truth", "bound"),
    ]
    return Table("stage 1", COLUMNS, rows, _note(pipeline, settings, config))


def _note(pipeline: PortraitPipeline, settings: SamplingSettings, config: DictConfig) -> str:
    return (
        f"{config.pairs_per_clip} pair(s) per clip at {pipeline.image_size} pixels: the reference a random frame of "
        f"the clip's first 80 %, the target one of the last 20 %. {settings.steps} steps, guidance "
        f"{settings.guidance_words}, {config.sampling_seeds} sampling "
        "seed(s). Face L1: mean absolute difference inside the box of the 478 landmarks, RGB in [0, 1]; its "
        "ratios are to the rows under the next clip's landmarks and of copying. Landmark distance: landmarks "
        "detected again on the pictures against those that "
        "drove them, mean over 478 points, in % of the root of the face box's area; its ratio is to what the "
        "reference's own, detected again, lie away from the same ones. Frames without a face are counted and in no "
        "distance. n counts clips."
    )


def _picture_row(
    pipeline: PortraitPipeline, pair: Trial, references: Tensor, made: dict[str, Tensor], truth: Tensor
) -> list[np.ndarray]:
    row = (
        references[0],
        pipeline.pose_images(pair.landmarks)[0],
        made["ours"][0, 0],
        truth[0],
        made["furthest"][0, 0],
        made["next"][0, 0],
    )
    return list(tensor_to_images(torch.stack(row)))
