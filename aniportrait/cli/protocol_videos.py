"""Videos of a fixed list of clips, sampled with fixed seeds as a protocol of conf/metrics says, to be scored."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from torch import Generator
from tqdm import tqdm

from aniportrait.checkpoints.store import Weights, open_weights
from aniportrait.cli.evaluate_videos import check_settings, evaluate_videos
from aniportrait.cli.pipelines import portrait_pipeline, predicted_motion, sampling_settings
from aniportrait.cli.shares import run_shares
from aniportrait.data.clip_codec import decode_frames
from aniportrait.data.listed_clips import clips_of_sources
from aniportrait.data.media import write_video
from aniportrait.data.schema import SAMPLE_RATE, ClipSample
from aniportrait.data.shards import ShardEntry, ShardIndex, read_sample
from aniportrait.data.whole_file import whole_file, write_text
from aniportrait.face.canonical import load_canonical_face
from aniportrait.face.crop import SquareCrop
from aniportrait.face.task_file import find_task_file
from aniportrait.pipelines.audio_driven import speaking_landmarks
from aniportrait.pipelines.head_motion import frame_count
from aniportrait.pipelines.landmark_track import LandmarkTrack
from aniportrait.pipelines.picture import Picture
from aniportrait.pipelines.reenact import driven_landmarks
from aniportrait.pipelines.sampling_settings import SamplingSettings
from aniportrait.pipelines.saved_networks import load_network, own_fps
from aniportrait.pipelines.speech_offsets import SpeechOffsets

log = logging.getLogger(__name__)

Animate = Callable[["Shown", SamplingSettings], np.ndarray]
"""(what is shown, settings) -> (f, h, w, 3) uint8 frames."""


@dataclass(frozen=True)
class Shown:
    """One video of a protocol.

    Args:
        picture: the portrait.
        sample: the clip that drives it.
        frames: its first frames, so many.
    """

    picture: Picture
    sample: ClipSample
    frames: int

    @property
    def audio(self) -> np.ndarray | None:
        """(n,) the clip's sound during these frames."""
        if self.sample.audio is None:
            return None
        return self.sample.audio[: round(self.frames / self.sample.meta.fps * SAMPLE_RATE)]


def evaluate_protocol(config: DictConfig, index: ShardIndex) -> None:
    """Sample what out/videos does not hold yet, then score it."""
    entries = protocol_clips(config, index)
    folder = Path(config.out) / "videos"
    config.videos.generated = str(folder / "generated")
    config.videos.reference = str(folder / "reference")
    beside = "driving" if config.protocol.task == "cross_identity" else "real"  # another person's is no truth
    config.videos[beside] = str(folder / "real")
    check_settings(config)
    _claim(folder, config, index, entries)
    todo = [entry for entry in entries if not (folder / "generated" / f"{entry.key}.mp4").is_file()]
    if len(todo) < len(entries):
        log.info("%d of %d videos are sampled already", len(entries) - len(todo), len(entries))
    if todo:
        run_shares(partial(_sample_share, clips=entries, todo=todo), config)
    evaluate_videos(config)


def protocol_clips(config: DictConfig, index: ShardIndex) -> list[ShardEntry]:
    """The clips that the protocol lists, of whatever split, or all of `split` where it lists none."""
    protocol = config.protocol
    if protocol.task not in TASKS:
        raise ValueError(f"protocol.task={protocol.task} must be one of {', '.join(TASKS)}")
    of = index.of_split(config.split) if protocol.sources is None else index.samples
    entries, missing = clips_of_sources(of, protocol.sources, protocol.clips_per_source)
    if protocol.task == "audio_driven":
        if silent := [entry.key for entry in entries if not entry.has_audio]:
            log.warning("%d clips have no sound and are left out: %s", len(silent), ", ".join(silent[:5]))
        entries = tuple(entry for entry in entries if entry.has_audio)
    if protocol.task == "cross_identity" and len({entry.identity for entry in entries}) < 2:
        raise ValueError("protocol.task=cross_identity needs clips of at least two people")
    if not entries:
        where = f"split={config.split}" if protocol.sources is None else f"the list {protocol.list}"
        raise ValueError(f"{index.folder} holds no clip of {where} that {protocol.name} can use")
    if missing:
        log.warning(
            "%d of %s's clips are not in %s: %s",
            len(missing),
            protocol.list,
            index.folder,
            ", ".join(missing[:5]),
        )
    if trained := [entry.key for entry in entries if entry.split == "train"]:
        log.warning(
            "%d of the %d clips are of split=train, and may have been trained on: %s",
            len(trained),
            len(entries),
            ", ".join(trained[:5]),
        )
    return list(entries)


def _sample_share(
    rank: int,
    world: int,
    device: torch.device,
    config: DictConfig,
    clips: list[ShardEntry],
    todo: list[ShardEntry],
) -> None:
    """Sample every n-th of the videos that are not there."""
    folder, share = Path(config.out) / "videos", todo[rank::world]
    if not share:
        return
    config = config.copy()
    config.device = str(device)
    weights = open_weights(config.weights)
    settings = sampling_settings(weights, config, config.sampling_steps)
    animate = TASKS[config.protocol.task](weights, config)
    for entry in tqdm(share, "sampling", unit="video", disable=rank > 0):
        number = clips.index(entry)
        shown = _shown(entry, _portrait_of(clips, number, config.protocol.task), config.protocol.seconds)
        _write(folder, shown, animate(shown, replace(settings, seed=config.seed + number)))


def _self_reenactment(weights: Weights, config: DictConfig) -> Animate:
    pipeline = portrait_pipeline(weights, config)

    def animate(shown: Shown, settings: SamplingSettings) -> np.ndarray:
        picture, track = shown.picture, shown.sample.track[: shown.frames]
        return pipeline(picture.image, picture.track.landmarks[0], track.landmarks, settings)

    return animate


def _cross_identity(weights: Weights, config: DictConfig) -> Animate:
    pipeline = portrait_pipeline(weights, config)
    face = load_canonical_face(find_task_file(config.paths.face_landmarker))

    def animate(shown: Shown, settings: SamplingSettings) -> np.ndarray:
        driving = LandmarkTrack(shown.sample.track[: shown.frames], shown.sample.meta.fps)
        points = driven_landmarks(shown.picture, driving, face)
        return pipeline(shown.picture.image, shown.picture.track.landmarks[0], points, settings)

    return animate


def _audio_driven(weights: Weights, config: DictConfig) -> Animate:
    pipeline = portrait_pipeline(weights, config)
    audio2mesh = load_network(weights, "audio2mesh", config.paths.pretrained).to(config.device)
    motion = predicted_motion(weights, config)
    face = load_canonical_face(find_task_file(config.paths.face_landmarker))

    def animate(shown: Shown, settings: SamplingSettings) -> np.ndarray:
        if shown.audio is None:
            raise ValueError(f"{shown.sample.meta.key} has no sound to drive it")
        fps = shown.sample.meta.fps
        sound = torch.from_numpy(np.asarray(shown.audio, np.float32))[None].to(config.device)
        speech = SpeechOffsets(audio2mesh, own_fps(weights, "audio2mesh"), sound, fps)
        generator = Generator(config.device).manual_seed(settings.seed)
        head_pose = motion(sound, frame_count(sound.shape[-1], fps), fps, generator)
        points = speaking_landmarks(shown.picture, speech, head_pose, face)
        return pipeline(shown.picture.image, shown.picture.track.landmarks[0], points, settings)

    return animate


TASKS = {
    "self_reenactment": _self_reenactment,
    "cross_identity": _cross_identity,
    "audio_driven": _audio_driven,
}
"""What drives a portrait: the person's own clip, another person's, or sound alone."""


def _portrait_of(entries: list[ShardEntry], number: int, task: str) -> ShardEntry:
    """The clip whose person is shown: the same, or for cross_identity the next of another person."""
    if task != "cross_identity":
        return entries[number]
    following = (entries[(number + step) % len(entries)] for step in range(1, len(entries)))
    return next(entry for entry in following if entry.identity != entries[number].identity)


def _shown(entry: ShardEntry, portrait: ShardEntry, seconds: float | None) -> Shown:
    """A clip driving the first frame with a face of `portrait`."""
    sample = read_sample(entry.folder, entry)
    person = sample if portrait == entry else read_sample(portrait.folder, portrait)
    first = int(np.flatnonzero(person.track.valid)[0])
    image = decode_frames(person.video, [first])[0]
    picture = Picture(
        image, person.track[first : first + 1], SquareCrop(0, 0, image.shape[1], image.shape[0])
    )
    frames = sample.meta.frames
    if seconds is not None:
        frames = min(frames, max(1, round(seconds * sample.meta.fps)))
    return Shown(picture, sample, frames)


def _write(folder: Path, shown: Shown, frames: np.ndarray) -> None:
    """The real video and the portrait first: a generated video that is there is complete."""
    key, fps = shown.sample.meta.key, shown.sample.meta.fps
    truth = decode_frames(shown.sample.video, range(shown.frames))
    write_video(folder / "real" / f"{key}.mp4", list(truth), fps, shown.audio)
    (folder / "reference").mkdir(exist_ok=True)
    with whole_file(folder / "reference" / f"{key}.png") as partial:
        Image.fromarray(shown.picture.image).save(partial, "PNG")
    write_video(folder / "generated" / f"{key}.mp4", frames, fps, shown.audio)


def _claim(folder: Path, config: DictConfig, index: ShardIndex, entries: list[ShardEntry]) -> None:
    """Say what the folder's videos are of; ValueError where it holds those of anything else."""
    weights = open_weights(config.weights)
    wanted: dict[str, Any] = {
        "weights": _files_of(Path(weights.source)),
        "data": index.digest,
        "protocol": OmegaConf.to_container(config.protocol, resolve=True),
        "clips": [entry.key for entry in entries],
        "sampling": vars(sampling_settings(weights, config, config.sampling_steps)),
        "context": config.context,
        "precision": config.precision,
    }
    file = folder / "sampled_with.json"
    if file.is_file():
        held = {"precision": "fp32", **json.loads(file.read_text())}
        if differing := [name for name in wanted if held.get(name) != json.loads(json.dumps(wanted[name]))]:
            raise ValueError(
                f"out={config.out} holds videos sampled with other {', '.join(differing)} (videos/sampled_with.json): "
                "choose another out=, or remove its folder videos"
            )
    folder.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps(wanted, indent=1) + "\n")


def _files_of(path: Path) -> list[list[str | int]]:
    """Name, size and time of a weights folder's or checkpoint's files."""
    files = sorted((*path.glob("*.safetensors"), *path.glob("*.json"))) if path.is_dir() else [path]
    return [[str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
