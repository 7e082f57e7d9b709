"""Scores of audio2mesh and audio2pose on whole clips."""

from collections.abc import Callable, Iterator, Sequence

import torch
from omegaconf import DictConfig
from torch import Generator, Tensor
from tqdm import tqdm

from aniportrait.checkpoints.store import Weights
from aniportrait.cli.networks import load_network
from aniportrait.cli.pipelines import predicted_motion
from aniportrait.data.schema import SpeechBatch
from aniportrait.data.shards import ShardEntry, ShardIndex
from aniportrait.data.speech_windows import SpeechWindows
from aniportrait.evaluation.head_motion_speed import HeadMotionSpeed
from aniportrait.evaluation.head_motion_spread import HeadMotionSpread
from aniportrait.evaluation.lip_vertex_error import LipVertexError
from aniportrait.evaluation.mesh_baselines import neutral_mesh, ridge_mesh, train_mean_mesh, with_other_sound
from aniportrait.evaluation.mesh_figures import draw_meshes
from aniportrait.evaluation.mouth_opening_correlation import MouthOpeningCorrelation
from aniportrait.evaluation.mouth_opening_spread import MouthOpeningSpread
from aniportrait.evaluation.per_clip import PerClipMetric
from aniportrait.evaluation.report_sections import Column, Part, Row, Table
from aniportrait.evaluation.scores import Score
from aniportrait.evaluation.velocity_error import VelocityError
from aniportrait.evaluation.vertex_error import VertexError

Predictor = Callable[[SpeechBatch], Tensor]
"""A clip -> its predicted vertices (1, f, 468, 3), cm."""

MESH_COLUMNS = (
    Column("lip vertex error", "mm", higher_is_better=False),
    Column("all vertices", "mm", higher_is_better=False),
    Column("velocity error", "mm/frame", higher_is_better=False),
    Column("mouth opening correlation", higher_is_better=True),
    Column("mouth opening spread", "of the truth's"),
)


def evaluate_audio2mesh(weights: Weights, index: ShardIndex, config: DictConfig) -> Part:
    """Errors on unseen identities, beside still meshes, a ridge regression, other sound and the noise floor."""
    network = load_network(weights, "audio2mesh", config.paths).to(config.device)
    clips = list(_speech(index, index.of_split(config.split), "scored clips"))
    train = list(_speech(index, index.of_split("train"), "training clips"))
    tuning = list(_speech(index, index.of_split("val"), "validation clips")) or train
    mean, ridge = train_mean_mesh(train), ridge_mesh(train, tuning)

    @torch.inference_mode()
    def ours(batch: SpeechBatch) -> Tensor:
        offsets = network(batch.audio.to(config.device), batch.vertices.shape[1]).cpu()
        return batch.neutral_vertices[:, None] + offsets

    def baseline(predictor: Callable[[Tensor, int], Tensor]) -> Predictor:
        return lambda batch: batch.neutral_vertices[:, None] + predictor(batch.audio, batch.vertices.shape[1])

    rows = [
        Row("audio2mesh", _mesh_scores(ours, clips)),
        Row("ridge regression on the same log-mels", _mesh_scores(baseline(ridge), clips), kind="baseline"),
        Row("train-mean mesh", _mesh_scores(baseline(mean), clips), kind="baseline"),
        Row("neutral mesh", _mesh_scores(baseline(neutral_mesh()), clips), kind="baseline"),
    ]
    if len(clips) > 1:
        rows.append(
            Row(
                "audio2mesh, another clip's sound",
                _mesh_scores(ours, with_other_sound(clips)),
                kind="control",
            )
        )
    if any(not torch.equal(clip.expected_vertices, clip.vertices) for clip in clips):
        floor = _mesh_scores(lambda batch: batch.expected_vertices, clips)
        rows.append(Row("noise floor: what the sound decides", floor, kind="bound"))
    shown = max(clips, key=lambda clip: clip.vertices.shape[1])
    figures = draw_meshes(shown.keys[0], ours(shown)[0].numpy(), shown.vertices[0].numpy(), index.fps)
    note = (
        "Metric mesh with head motion removed. Lip vertex error: the worst of the 40 lip vertices of a frame (not "
        "squared), mean over frames, then over clips. n counts clips."
    )
    return Part("Speech to meshes", [Table("audio2mesh", MESH_COLUMNS, rows, note), *figures])


def evaluate_audio2pose(weights: Weights, index: ShardIndex, config: DictConfig) -> Part:
    """How far and how fast the head moves against the truth; two seeds must give two motions."""
    head_motion = predicted_motion(weights, config)
    clips = list(_speech(index, index.of_split(config.split), "scored clips"))

    def sampled(seed: int) -> list[Tensor]:
        generator = Generator(config.device).manual_seed(seed)
        return [
            torch.from_numpy(
                head_motion(clip.audio.to(config.device), clip.head_pose.shape[1], generator)
            ).float()[None]
            for clip in tqdm(clips, f"head motion, seed {seed}", unit="clip")
        ]

    def scores(motions: Sequence[Tensor]) -> list[Score]:
        metrics: list[PerClipMetric] = [HeadMotionSpread(), HeadMotionSpeed()]
        for motion, clip in zip(motions, clips, strict=True):
            for metric in metrics:
                metric.update(motion, clip.head_pose, clip.valid)
        return [Score.over_clips(metric.per_clip.tolist()) for metric in metrics]

    first, second = sampled(config.seed), sampled(config.seed + 1)
    apart = [float((a - b)[..., :3].abs().mean()) for a, b in zip(first, second, strict=True)]
    still = [torch.zeros_like(clip.head_pose) for clip in clips]
    rows = [
        Row("audio2pose", [*scores(first), Score.over_clips(apart)]),
        Row("still head", [*scores(still), 0.0], kind="baseline"),
    ]
    columns = (
        Column("spread of rotation", "of the truth's"),
        Column("speed of rotation", "of the truth's"),
        Column("between two seeds", "degrees"),
    )
    note = (
        "1 is as much motion as the truth's. As animate.py moves the head, smoothing included. Head motion is not "
        "decided by the sound: a seed draws it."
    )
    return Part("Speech to head motion", [Table("audio2pose", columns, rows, note)])


def _mesh_scores(predictor: Predictor, clips: Sequence[SpeechBatch]) -> list[Score]:
    metrics: list[PerClipMetric] = [
        LipVertexError(),
        VertexError(),
        VelocityError(),
        MouthOpeningCorrelation(),
        MouthOpeningSpread(),
    ]
    for clip in clips:
        prediction = predictor(clip)
        for metric in metrics:
            metric.update(prediction, clip.vertices, clip.valid)
    return [Score.over_clips(metric.per_clip.tolist()) for metric in metrics]


def _speech(index: ShardIndex, entries: Sequence[ShardEntry], what: str) -> Iterator[SpeechBatch]:
    """Whole clips with sound, one at a time."""
    with_sound = [entry for entry in entries if entry.has_audio]
    if not with_sound and what == "scored clips":
        raise ValueError(f"none of the {len(entries)} clips to be scored in {index.folder} has sound")
    for entry in tqdm(with_sound, what, unit="clip"):
        whole = SpeechWindows(index.fps, entry.frames, (), cache_bytes=0)
        yield whole.collate([whole.fixed(entry, 0)])
