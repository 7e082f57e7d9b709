"""Which frames of a clip are made from which, and how."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from aniportrait.checkpoints.store import Weights
from aniportrait.cli.pipelines import sampling_settings
from aniportrait.data.clip_codec import decode_frames
from aniportrait.data.schema import ClipSample
from aniportrait.data.shards import ShardEntry, ShardIndex, read_sample
from aniportrait.pipelines.portrait import PortraitPipeline, image_to_tensor
from aniportrait.pipelines.sampling_settings import SamplingSettings

log = logging.getLogger(__name__)

TRAIN_SHARE = 0.8
"""Of a clip: what references come from, and all that may be trained on where training clips are scored."""


@dataclass(frozen=True)
class Trial:
    """One reference and the frames it should turn into.

    Args:
        sample: the clip.
        reference: index of the frame that serves as the portrait.
        frames: (f,) indices of the frames to be made.
        furthest: (f,) indices of frames of the same clip whose landmarks are furthest from those of `frames`.
        seeds: one for each sampling.
    """

    sample: ClipSample
    reference: int
    frames: np.ndarray
    furthest: np.ndarray
    seeds: tuple[int, ...]

    @property
    def landmarks(self) -> np.ndarray:
        """(f, 478, 3) of the frames to be made."""
        return self.sample.track.landmarks[self.frames]


def held_out_from(frames: int) -> int:
    """The first frame of a clip's last fifth."""
    return math.ceil(round(TRAIN_SHARE * frames, 6))


def pairs_of_clips(index: ShardIndex, config: DictConfig) -> list[list[Trial]]:
    """For every clip `pairs_per_clip` references from its first four fifths, each with a frame from the rest.

    Clips without a face in either part are left out, and said.
    """
    entries = index.of_split(config.split)
    clips = [pairs for entry in entries if (pairs := _pairs(index, entry, config))]
    if not clips:
        raise ValueError(
            f"no clip of split={config.split} shows a face in its first four fifths and in the last"
        )
    if len(clips) == 1:
        log.warning("there is but one clip to score: the next clip's landmarks are its own")
    if len(clips) < len(entries):
        log.warning(
            "%d of %d clips have no face in their first four fifths or in the last: they are left out",
            len(entries) - len(clips),
            len(entries),
        )
    return clips


def window_of_clip(index: ShardIndex, entry: ShardEntry, length: int, config: DictConfig) -> Trial | None:
    """A clip's last `length` frames, and a reference from the first four fifths, before them.

    None for a clip that is too short: of a training clip the window must lie in the last fifth.
    """
    first = entry.frames - length
    if first < (held_out_from(entry.frames) if config.split == "train" else 1):
        return None
    sample = read_sample(index.folder, entry)
    valid = np.flatnonzero(sample.track.valid[: min(first, held_out_from(entry.frames))])
    if len(valid) == 0:
        return None
    frames = np.arange(first, entry.frames)
    reference = int(_generator(entry, config).choice(valid))
    return Trial(sample, reference, frames, frames, _sampling_seeds(entry, config))


def trial_settings(weights: Weights, config: DictConfig) -> SamplingSettings:
    """How frames are sampled to be scored."""
    if config.sampling_seeds < 1 or config.pairs_per_clip < 1:
        raise ValueError(
            f"sampling_seeds ({config.sampling_seeds}) and pairs_per_clip ({config.pairs_per_clip}) must be at least 1"
        )
    return sampling_settings(weights, config, config.sampling_steps)


def warn_of_trained_frames(weights: str) -> None:
    """Say so, where the frames of training clips that are scored are not known to have been left out of training."""
    file = Path(weights) / "config.yaml"
    settings = OmegaConf.load(file) if file.is_file() else OmegaConf.create()
    share = OmegaConf.select(settings, "data.train_share")
    if share is None or share > TRAIN_SHARE:
        log.warning(
            "%s was not trained with data.train_share=%g: the frames scored of training clips may have been trained on",
            weights,
            TRAIN_SHARE,
        )


def pictures(trial: Trial, size: int) -> tuple[Tensor, Tensor]:
    """True frames (f, 3, h, w) and the reference (1, 3, h, w), in [-1, 1]."""
    decoded = decode_frames(trial.sample.video, [trial.reference, *trial.frames.tolist()])
    tensors = torch.stack([image_to_tensor(frame, size) for frame in decoded])
    return tensors[1:], tensors[:1]


@torch.inference_mode()
def round_trip(pipeline: PortraitPipeline, frames: Tensor) -> Tensor:
    """Frames (f, 3, h, w) in [-1, 1], encoded and decoded again: what the autoencoder alone loses."""
    networks = pipeline.networks
    return networks.decode(networks.encode(frames[None].to(pipeline.device, pipeline.dtype)))[0].float().cpu()


def sampled(
    pipeline: PortraitPipeline, trial: Trial, landmarks: np.ndarray, settings: SamplingSettings
) -> Tensor:
    """Frames (seeds, f, 3, h, w) in [-1, 1] of the trial's reference under landmarks (f, 478, 3)."""
    portrait = decode_frames(trial.sample.video, [trial.reference])[0]
    known = trial.sample.track.landmarks[trial.reference]
    samplings = pipeline.samplings(portrait, known, landmarks, settings, trial.seeds)
    return torch.stack([_tensors(images, pipeline.image_size) for images in samplings])


def _tensors(images: Sequence[np.ndarray] | np.ndarray, size: int) -> Tensor:
    return torch.stack([image_to_tensor(image, size) for image in images])


def _pairs(index: ShardIndex, entry: ShardEntry, config: DictConfig) -> list[Trial]:
    sample = read_sample(index.folder, entry)
    valid = np.flatnonzero(sample.track.valid)
    early, late = (
        valid[part] for part in (valid < held_out_from(entry.frames), valid >= held_out_from(entry.frames))
    )
    if len(early) == 0 or len(late) == 0:
        return []
    generator = _generator(entry, config)
    targets = generator.choice(late, min(config.pairs_per_clip, len(late)), replace=False)
    points = sample.track.landmarks[..., :2]
    trials = []
    for target in np.sort(targets):
        distance = np.linalg.norm(points[valid] - points[target], axis=-1).mean(axis=-1)
        furthest = valid[[distance.argmax()]]
        reference = int(generator.choice(early))
        trials.append(
            Trial(
                sample, reference, np.array([target]), furthest, _sampling_seeds(entry, config, int(target))
            )
        )
    return trials


def _generator(entry: ShardEntry, config: DictConfig) -> np.random.Generator:
    return np.random.default_rng([config.seed, *entry.key.encode()])


def _sampling_seeds(entry: ShardEntry, config: DictConfig, frame: int = 0) -> tuple[int, ...]:
    """Of the noise: another for each clip, so that the spread over seeds is that of independent draws."""
    return tuple(
        int(np.random.SeedSequence([config.seed + number, frame, *entry.key.encode()]).generate_state(1)[0])
        for number in range(config.sampling_seeds)
    )
