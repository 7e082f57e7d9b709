"""Scores of audio2pose: sampled motions against the distribution of true ones."""

import logging
from collections.abc import Sequence

import torch
from omegaconf import DictConfig
from torch import Generator, Tensor
from tqdm import tqdm

from aniportrait.checkpoints.store import Weights
from aniportrait.cli.evaluate_speech import whole_clips
from aniportrait.cli.pipelines import predicted_motion
from aniportrait.data.schema import SpeechBatch
from aniportrait.data.shards import ShardEntry, ShardIndex
from aniportrait.evaluation.beat_alignment import BeatAlignment, onset_strength
from aniportrait.evaluation.head_motion_jitter import HeadMotionJitter
from aniportrait.evaluation.head_motion_speed import HeadMotionSpeed
from aniportrait.evaluation.head_motion_spread import HeadMotionSpread
from aniportrait.evaluation.head_pose_frechet_distance import HeadPoseFrechetDistance
from aniportrait.evaluation.mesh_baselines import with_other_sound
from aniportrait.evaluation.per_clip import PerClipMetric
from aniportrait.evaluation.report_sections import Column, Part, Row, Table
from aniportrait.evaluation.scores import Score
from aniportrait.pipelines.head_motion import PoseTemplate

log = logging.getLogger(__name__)

COLUMNS = (
    Column("Frechet distance", higher_is_better=False),
    Column("spread of rotation", "of the truth's"),
    Column("speed of rotation", "of the truth's"),
    Column("jitter of rotation", "of the truth's"),
    Column("beat alignment", higher_is_better=True),
    Column("between two seeds", "degrees"),
)
NOTE = (
    "Head motion is not decided by the sound: it is sampled, as animate.py moves the head, and distributions are "
    "compared. Frechet distance of poses and their changes, all frames together, in units of the truth's standard "
    "deviations, 0 is right. Spread, speed and jitter (third difference): 1 is as much as the truth's. Beat alignment: "
    "how near the head's rests lie to the voice's onsets; read it beside the true head's and beside the other sound's."
)


def evaluate_audio2pose(weights: Weights, index: ShardIndex, config: DictConfig) -> Part:
    """How the head moves against the truth; two seeds must give two motions."""
    head_motion = predicted_motion(weights, config)
    clips = list(whole_clips(index, index.of_split(config.split), "scored clips"))

    def sampled(clips: Sequence[SpeechBatch], seed: int) -> list[Tensor]:
        generator = Generator(config.device).manual_seed(seed)
        motions = (
            head_motion(clip.audio.to(config.device), clip.head_pose.shape[1], index.fps, generator)
            for clip in tqdm(clips, f"head motion, seed {seed}", unit="clip")
        )
        return [torch.from_numpy(motion).float()[None] for motion in motions]

    first, second = sampled(clips, config.seed), sampled(clips, config.seed + 1)
    apart = [float((a - b)[..., :3].abs().mean()) for a, b in zip(first, second, strict=True)]
    truth = [clip.head_pose for clip in clips]
    rows = [
        Row("audio2pose", [*_scores(first, clips), Score.over_clips(apart)]),
        Row("audio2pose, another seed", [*_scores(second, clips), None]),
        *_borrowed_rows(clips, index),
        Row(
            "still head", [*_scores([torch.zeros_like(pose) for pose in truth], clips), 0.0], kind="baseline"
        ),
        Row("the true head", [*_scores(truth, clips), None], kind="bound"),
    ]
    if len(clips) > 1:
        heard = with_other_sound(clips)
        rows.insert(
            2,
            Row(
                "audio2pose, other clips' sound",
                [*_scores(sampled(heard, config.seed), clips), None],
                kind="control",
            ),
        )
    return Part("Speech to head motion", [Table("audio2pose", COLUMNS, rows, NOTE)])


def _scores(motions: Sequence[Tensor], clips: Sequence[SpeechBatch]) -> list[Score]:
    frechet, beats = HeadPoseFrechetDistance(), BeatAlignment()
    metrics: list[PerClipMetric] = [HeadMotionSpread(), HeadMotionSpeed(), HeadMotionJitter()]
    for motion, clip in zip(motions, clips, strict=True):
        frechet.update(motion, clip.head_pose, clip.valid)
        for metric in metrics:
            metric.update(motion, clip.head_pose, clip.valid)
        beats.update(motion, onset_strength(clip.audio, motion.shape[1]), clip.valid)
    distance = Score(float(frechet.compute()), len(clips), len(clips))
    return [distance, *(Score.over_clips(metric.per_clip.tolist()) for metric in (*metrics, beats))]


def _borrowed_rows(clips: Sequence[SpeechBatch], index: ShardIndex) -> list[Row]:
    """The motion of training clips, if there are any."""
    train = [entry for entry in index.of_split("train") if entry.has_audio]
    if not train:
        log.warning("no training clip of %s has sound: no motion is borrowed to compare with", index.folder)
        return []
    motions = _borrowed(clips, index, train)
    return [Row("a training clip's motion", [*_scores(motions, clips), None], kind="baseline")]


def _borrowed(clips: Sequence[SpeechBatch], index: ShardIndex, train: Sequence[ShardEntry]) -> list[Tensor]:
    """The motion of a training clip for each clip, forwards and backwards where it is too short."""
    chosen = [train[number * len(train) // len(clips)] for number in range(len(clips))]
    motions = []
    for clip, lender in zip(clips, whole_clips(index, chosen, "training clips"), strict=True):
        template = PoseTemplate(lender.head_pose[0].double().numpy(), index.fps)
        motion = template(clip.audio, clip.head_pose.shape[1], index.fps, Generator())
        motions.append(torch.from_numpy(motion).float()[None])
    return motions
