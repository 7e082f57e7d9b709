"""Scores of audio2mesh on whole clips, beside meshes that do not listen and systems that listen less well."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from tqdm import tqdm

from aniportrait.checkpoints.store import Weights, open_weights
from aniportrait.data.schema import SpeechBatch
from aniportrait.data.shards import ShardEntry, ShardIndex
from aniportrait.data.speech_windows import SpeechWindows
from aniportrait.evaluation.best_mouth_opening_correlation import BestMouthOpeningCorrelation
from aniportrait.evaluation.lip_vertex_error import LipVertexError
from aniportrait.evaluation.mesh_baselines import neutral_mesh, ridge_mesh, train_mean_mesh, with_other_sound
from aniportrait.evaluation.mesh_figures import draw_meshes
from aniportrait.evaluation.mouth_opening_correlation import MouthOpeningCorrelation, mouth_opening
from aniportrait.evaluation.mouth_opening_spread import MouthOpeningSpread
from aniportrait.evaluation.paired_blocks import paired_correlation_difference
from aniportrait.evaluation.per_clip import PerClipMetric
from aniportrait.evaluation.report_sections import Column, Part, Row, Table
from aniportrait.evaluation.scores import Score, means_of_known
from aniportrait.evaluation.squared_lip_vertex_error import SquaredLipVertexError
from aniportrait.evaluation.velocity_error import VelocityError
from aniportrait.evaluation.vertex_error import VertexError
from aniportrait.pipelines.saved_choices import choices_of
from aniportrait.pipelines.saved_networks import load_network

log = logging.getLogger(__name__)

Predictor = Callable[[SpeechBatch], Tensor]
"""A clip -> its predicted vertices (1, f, 468, 3), cm."""

COLUMNS = (
    Column("lip vertex error", "mm", higher_is_better=False),
    Column("squared lip vertex error", "mm^2", higher_is_better=False),
    Column("all vertices", "mm", higher_is_better=False),
    Column("upper face", "mm", higher_is_better=False),
    Column("velocity error", "mm/frame", higher_is_better=False),
    Column("mouth opening correlation", higher_is_better=True),
    Column("best within 120 ms", higher_is_better=True),
    Column("mouth opening spread", "of the truth's"),
)
NOTE = (
    "Metric mesh with head motion removed. Lip vertex error: the worst of the 40 lip vertices of a frame (not "
    "squared), mean over frames, then over clips; the squared form is the literature's LVE. Correlation at lag 0, and "
    "at each clip's best lag. n counts clips."
)
FROZEN = 0.5
"""A mouth that moves less than this share of the truth's is an alarm."""
OTHER_SOUNDS = 4
"""Other clips' sounds that each clip is scored with, at most."""
BLOCK_SECONDS = 1.0
RIDGE = "ridge regression on log-mels"


def evaluate_audio2mesh(weights: Weights, index: ShardIndex, config: DictConfig) -> Part:
    """Errors on unseen identities, beside still meshes, a ridge regression, rivals, other sound and the noise floor."""
    clips = list(whole_clips(index, index.of_split(config.split), "scored clips"))
    train = list(whole_clips(index, index.of_split("train"), "training clips"))
    tuning = list(whole_clips(index, index.of_split("val"), "validation clips")) or train
    ours = _predictor(weights, config)
    rivals = _rivals(config)
    if not rivals:
        log.warning(
            "no rivals=: the report lacks the original's head and loss; experiments/audio2mesh/README.md trains them"
        )
    fitted: dict[str, Predictor] = {}
    if train:
        fitted = {
            RIDGE: _baseline(ridge_mesh(train, tuning)),
            "train-mean mesh": _baseline(train_mean_mesh(train)),
        }
    else:
        log.warning("no training clip of %s has sound: nothing is fitted to compare with", index.folder)
    rows = [
        Row("audio2mesh", _scores(ours, clips, index.fps)),
        *(Row(name, _scores(rival, clips, index.fps), kind="baseline") for name, rival in rivals.items()),
        *(Row(name, _scores(mesh, clips, index.fps), kind="baseline") for name, mesh in fitted.items()),
        Row("neutral mesh", _scores(_baseline(neutral_mesh()), clips, index.fps), kind="baseline"),
    ]
    _warn_if_frozen(rows[0])
    if len(clips) > 1:
        turns = [
            _figures(ours, with_other_sound(clips, turn), index.fps)
            for turn in range(1, min(len(clips), OTHER_SOUNDS + 1))
        ]
        others = [Score.over_clips(figures) for figures in means_of_known(np.stack(turns), axis=0)]
        rows.append(Row("audio2mesh, other clips' sound", others, kind="control"))
    if any(not torch.equal(clip.expected_vertices, clip.vertices) for clip in clips):
        floor = _scores(lambda batch: batch.expected_vertices, clips, index.fps)
        rows.append(Row("noise floor: what the sound decides", floor, kind="bound"))
    shown = max(clips, key=lambda clip: clip.vertices.shape[1])
    figures = draw_meshes(shown.keys[0], ours(shown)[0].numpy(), shown.vertices[0].numpy(), index.fps)
    beside = {name: mesh for name, mesh in fitted.items() if name == RIDGE} | rivals
    compared = _compared(ours, beside, clips, index.fps)
    return Part("Speech to meshes", [Table("audio2mesh", COLUMNS, rows, NOTE), compared, *figures])


def whole_clips(index: ShardIndex, entries: Sequence[ShardEntry], what: str) -> Iterator[SpeechBatch]:
    """Whole clips with sound, one at a time."""
    with_sound = [entry for entry in entries if entry.has_audio]
    if not with_sound and what == "scored clips":
        raise ValueError(f"none of the {len(entries)} clips to be scored in {index.folder} has sound")
    for entry in tqdm(with_sound, what, unit="clip"):
        whole = SpeechWindows(index.fps, entry.frames, (), cache_bytes=0)
        yield whole.collate([whole.fixed(entry, 0)])


def _rivals(config: DictConfig) -> dict[str, Predictor]:
    """Predictors of config.rivals, by what their cards say they are: "published head, log_mel"."""
    rivals: dict[str, Predictor] = {}
    for folder in config.rivals:
        weights = open_weights(folder)
        choices = choices_of(weights, "audio2mesh")
        name = f"{choices['mesh_head']} head, {choices['audio_encoder']}"
        rivals[f"{name} ({folder})" if name in rivals else name] = _predictor(weights, config)
    return rivals


def _predictor(weights: Weights, config: DictConfig) -> Predictor:
    network: nn.Module = load_network(weights, "audio2mesh", config.paths.pretrained).to(config.device)

    @torch.inference_mode()
    def predicted(batch: SpeechBatch) -> Tensor:
        offsets = network(batch.audio.to(config.device), batch.vertices.shape[1]).cpu()
        return batch.neutral_vertices[:, None] + offsets

    return predicted


def _baseline(offsets: Callable[[Tensor, int], Tensor]) -> Predictor:
    return lambda batch: batch.neutral_vertices[:, None] + offsets(batch.audio, batch.vertices.shape[1])


def _scores(predictor: Predictor, clips: Sequence[SpeechBatch], fps: float) -> list[Score]:
    return [Score.over_clips(figures) for figures in _figures(predictor, clips, fps)]


def _figures(predictor: Predictor, clips: Sequence[SpeechBatch], fps: float) -> np.ndarray:
    """(metrics, clips) in the order of COLUMNS."""
    metrics: list[PerClipMetric] = [
        LipVertexError(),
        SquaredLipVertexError(),
        VertexError(),
        VertexError("upper_face"),
        VelocityError(),
        MouthOpeningCorrelation(),
        BestMouthOpeningCorrelation(fps),
        MouthOpeningSpread(),
    ]
    for clip in clips:
        prediction = predictor(clip)
        for metric in metrics:
            metric.update(prediction, clip.vertices, clip.valid)
    return np.stack([metric.per_clip.numpy() for metric in metrics])


def _warn_if_frozen(row: Row) -> None:
    spread = row.cells[-1]
    if isinstance(spread, Score) and spread.value < FROZEN:
        log.warning(
            "the mouth of %s moves %.2f as much as the truth's, below %.1f: it is nearly frozen",
            row.name,
            spread.value,
            FROZEN,
        )


def _compared(
    ours: Predictor, others: Mapping[str, Predictor], clips: Sequence[SpeechBatch], fps: float
) -> Table:
    """How surely the mouth follows better than that of each other system."""

    def opening(predictor: Predictor, clip: SpeechBatch) -> Tensor:
        return mouth_opening(predictor(clip))[clip.valid]

    rows = []
    for name, other in others.items():
        openings = [
            (
                opening(ours, clip).numpy(),
                opening(other, clip).numpy(),
                mouth_opening(clip.vertices)[clip.valid].numpy(),
            )
            for clip in clips
        ]
        difference = paired_correlation_difference(openings, round(BLOCK_SECONDS * fps))
        score = Score(difference.value, len(clips), len(clips), difference.interval)
        rows.append(Row(f"less {name}", [score, difference.above_zero, difference.blocks]))
    columns = (
        Column("difference of mouth opening correlation", higher_is_better=True),
        Column("draws above zero", "share", higher_is_better=True),
        Column("blocks"),
    )
    note = (
        f"Paired bootstrap: blocks of {BLOCK_SECONDS:g} s are drawn with replacement within each clip, the same for "
        "both systems; the interval holds 95 % of the draws."
    )
    return Table("audio2mesh, paired", columns, rows, note)
