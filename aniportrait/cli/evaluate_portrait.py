"""Scores of the two steps of Lmk2Video, on frames and clips of unseen identities."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from omegaconf import DictConfig
from torch import Tensor
from tqdm import tqdm

from aniportrait.checkpoints.store import Weights
from aniportrait.cli.pipelines import portrait_pipeline, sampling_settings
from aniportrait.data.clip_codec import decode_frames
from aniportrait.data.media import write_video
from aniportrait.data.schema import ClipSample
from aniportrait.data.shards import ShardEntry, ShardIndex, read_sample
from aniportrait.evaluation.report_sections import Column, Images, Part, Row, Table, Video
from aniportrait.evaluation.scores import Score
from aniportrait.evaluation.suite import PortraitSuite
from aniportrait.pipelines.portrait import PortraitPipeline, SamplingSettings, image_to_tensor

COLUMNS = (
    Column("face L1", "of [0, 1]", higher_is_better=False, digits=4),
    Column("PSNR", "dB", higher_is_better=True, digits=2),
    Column("SSIM", higher_is_better=True),
)
SCORES = ("face_l1", "psnr", "ssim")


@dataclass(frozen=True)
class Trial:
    """One portrait and the frames it should turn into.

    Args:
        sample: the clip.
        portrait: index of the frame that serves as the portrait.
        frames: (f,) indices of the frames to be made.
        others: (f,) indices of frames of the same clip whose landmarks are furthest from those of `frames`.
    """

    sample: ClipSample
    portrait: int
    frames: np.ndarray
    others: np.ndarray


def evaluate_stage1(weights: Weights, index: ShardIndex, config: DictConfig) -> Part:
    """Single frames: ours, copying the portrait, ours under other landmarks, the autoencoder's round trip."""
    pipeline = portrait_pipeline(weights, config, motion=False)
    settings = sampling_settings(weights, config.paths, seed=config.seed, steps=config.sampling_steps)
    size = pipeline.image_size
    trials = [_frame_trial(index, entry, config) for entry in index.of_split(config.split)]
    suites = {name: PortraitSuite() for name in ("ours", "copy", "furthest", "next", "floor")}
    grid = []
    for i, trial in enumerate(tqdm(trials, "stage 1", unit="clip")):
        landmarks = trial.sample.track.landmarks
        elsewhere = trials[(i + 1) % len(trials)]
        truth, portrait = _pictures(trial, size)
        made = {
            "ours": _sampled(pipeline, trial, landmarks[trial.frames], settings),
            "furthest": _sampled(pipeline, trial, landmarks[trial.others], settings),
            "next": _sampled(pipeline, trial, elsewhere.sample.track.landmarks[elsewhere.frames], settings),
            "copy": portrait.expand_as(truth),
            "floor": _round_trip(pipeline, truth),
        }
        boxes = face_boxes(landmarks[trial.frames])
        for name, suite in suites.items():
            suite.update(made[name][None], truth[None], boxes[None])
        if len(grid) < 8:
            grid.append(_picture_row(pipeline, trial, portrait[0], made, truth))
    rows = [
        Row("stage 1", _scores(suites["ours"])),
        Row("copying the portrait", _scores(suites["copy"]), kind="baseline"),
        Row("stage 1, landmarks of the furthest frame", _scores(suites["furthest"]), kind="control"),
        Row("stage 1, landmarks of the next clip", _scores(suites["next"]), kind="control"),
        Row("floor: the autoencoder's round trip", _scores(suites["floor"]), kind="bound"),
    ]
    note = (
        f"{config.pairs_per_clip} frames per clip at {size} pixels, {settings.steps} steps, guidance "
        f"{settings.guidance_scale:g}. Face L1: mean absolute difference inside the box of the landmarks, RGB in "
        "[0, 1]. n counts clips."
    )
    captions = ("portrait", "landmarks", "stage 1", "truth", "other landmarks")
    pictures = Images("Frames of unseen identities", grid, column_captions=captions)
    return Part("Single frames", [Table("stage 1", COLUMNS, rows, note), pictures])


def evaluate_motion(weights: Weights, index: ShardIndex, config: DictConfig) -> Part:
    """Clips: with motion modules and frame by frame; flicker against the truth's."""
    moving = portrait_pipeline(weights, config, motion=True)
    still = portrait_pipeline(weights, config, motion=False)
    settings = sampling_settings(weights, config.paths, seed=config.seed, steps=config.sampling_steps)
    entries = [
        entry for entry in index.of_split(config.split) if entry.frames > moving.windows.context_length
    ]
    trials = [_clip_trial(index, entry, moving) for entry in entries[: config.motion_clips]]
    if not trials:
        return Part(
            "Clips", [], text="No clip of this split is long enough for a window of the motion modules."
        )
    suites = {name: PortraitSuite() for name in ("moving", "still", "copy", "truth")}
    for number, trial in enumerate(tqdm(trials, "stage 2", unit="clip")):
        truth, portrait = _pictures(trial, moving.image_size)
        landmarks = trial.sample.track.landmarks[trial.frames]
        made = {
            "moving": _sampled(moving, trial, landmarks, settings),
            "still": _frame_by_frame(still, trial, landmarks, settings),
            "copy": portrait.expand_as(truth),
            "truth": truth,
        }
        for name, suite in suites.items():
            suite.update(made[name][None], truth[None], face_boxes(landmarks)[None])
        if number == 0:
            columns = (
                portrait.expand_as(truth),
                moving.pose_images(landmarks).cpu(),
                made["still"],
                made["moving"],
                truth,
            )
            video = _side_by_side(columns, Path(config.out) / "samples" / "stage2.mp4", index.fps)
    columns = (*COLUMNS, Column("flicker", "of the truth's"))
    rows = [
        Row("stage 2", _scores(suites["moving"], "flicker")),
        Row("stage 1, frame by frame", _scores(suites["still"], "flicker"), kind="baseline"),
        Row("copying the portrait", _scores(suites["copy"], "flicker"), kind="baseline"),
        Row("truth", _scores(suites["truth"], "flicker"), kind="bound"),
    ]
    length = moving.windows.context_length
    note = (
        f"{len(trials)} clips of {length} frames. Flicker: difference of successive frames against the truth's; 1 is "
        f"as lively as the truth. Of the noise {settings.shared_noise:.0%} is common to all frames of a clip."
    )
    sections = [
        Table("stage 2", columns, rows, note),
        Video("Portrait, landmarks, stage 1, stage 2, truth", video),
    ]
    return Part("Clips", sections)


def face_boxes(landmarks: np.ndarray) -> Tensor:
    """(f, n, 2 or 3) in [0, 1] -> (f, 4) x0, y0, x1, y1."""
    points = torch.from_numpy(np.asarray(landmarks[..., :2], np.float32))
    return torch.cat((points.amin(dim=1), points.amax(dim=1)), dim=1)


def _frame_trial(index: ShardIndex, entry: ShardEntry, config: DictConfig) -> Trial:
    """The portrait from the clip's first fifth, frames from the rest, all seeded by the clip's name."""
    sample = read_sample(index.folder, entry)
    valid = np.flatnonzero(sample.track.valid)
    rng = np.random.default_rng([config.seed, *entry.key.encode()])
    early = valid[: max(1, len(valid) // 5)]
    late = valid[len(early) :] if len(valid) > len(early) else valid
    frames = np.sort(rng.choice(late, min(config.pairs_per_clip, len(late)), replace=False))
    points = sample.track.landmarks[..., :2]
    distance = np.linalg.norm(points[frames, None] - points[None, valid], axis=-1).mean(axis=-1)
    return Trial(sample, int(rng.choice(early)), frames, valid[distance.argmax(axis=1)])


def _clip_trial(index: ShardIndex, entry: ShardEntry, pipeline: PortraitPipeline) -> Trial:
    """The portrait is the clip's first frame, the window its last frames."""
    sample = read_sample(index.folder, entry)
    frames = np.arange(len(sample.track))[-pipeline.windows.context_length :]
    return Trial(sample, 0, frames, frames)


def _pictures(trial: Trial, size: int) -> tuple[Tensor, Tensor]:
    """True frames (f, 3, h, w) and the portrait (1, 3, h, w), in [-1, 1]."""
    decoded = decode_frames(trial.sample.video, [trial.portrait, *trial.frames.tolist()])
    tensors = torch.stack([image_to_tensor(frame, size) for frame in decoded])
    return tensors[1:], tensors[:1]


def _sampled(
    pipeline: PortraitPipeline, trial: Trial, landmarks: np.ndarray, settings: SamplingSettings
) -> Tensor:
    """Frames (f, 3, h, w) in [-1, 1] of the trial's portrait under these landmarks, one per frame of the trial."""
    portrait = decode_frames(trial.sample.video, [trial.portrait])[0]
    chosen = landmarks[np.arange(len(trial.frames)) % len(landmarks)]
    images = pipeline(portrait, trial.sample.track.landmarks[trial.portrait], chosen, settings)
    return torch.stack([image_to_tensor(image, pipeline.image_size) for image in images])


def _frame_by_frame(
    pipeline: PortraitPipeline, trial: Trial, landmarks: np.ndarray, settings: SamplingSettings
) -> Tensor:
    """As `_sampled`, with other noise: a denoiser without motion modules makes every frame by itself."""
    return _sampled(pipeline, trial, landmarks, replace(settings, seed=settings.seed + 1))


@torch.inference_mode()
def _round_trip(pipeline: PortraitPipeline, frames: Tensor) -> Tensor:
    networks = pipeline.networks
    return networks.decode(networks.encode(frames[None].to(pipeline.device)))[0].cpu()


def _scores(suite: PortraitSuite, *more: str) -> list[Score]:
    values = suite.per_clip()
    return [Score.over_clips(values[name].tolist()) for name in (*SCORES, *more)]


def _picture_row(
    pipeline: PortraitPipeline, trial: Trial, portrait: Tensor, made: dict[str, Tensor], truth: Tensor
) -> list[np.ndarray]:
    landmarks = pipeline.pose_images(trial.sample.track.landmarks[trial.frames[:1]])[0].cpu()
    return [
        _pixels(picture) for picture in (portrait, landmarks, made["ours"][0], truth[0], made["furthest"][0])
    ]


def _side_by_side(columns: Sequence[Tensor], path: Path, fps: float) -> Path:
    """A video of (f, 3, h, w) columns next to one another, at least 256 pixels high."""
    frames = rearrange(torch.stack(list(columns)), "k f c h w -> f c h (k w)")
    enlarge = max(1, 256 // frames.shape[2])
    pictures = [np.repeat(np.repeat(_pixels(frame), enlarge, axis=0), enlarge, axis=1) for frame in frames]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, pictures, fps)
    return path


def _pixels(picture: Tensor) -> np.ndarray:
    """(3, h, w) in [-1, 1] -> (h, w, 3) uint8."""
    return ((picture + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
