"""python animate.py: a portrait speaks, or follows a driving video."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from tqdm import tqdm

from aniportrait.checkpoints.store import Weights, WeightsError, open_weights
from aniportrait.cli.face_track import read_track
from aniportrait.cli.networks import load_network
from aniportrait.cli.pipelines import (
    face_landmarker,
    portrait_pipeline,
    predicted_motion,
    sampling_settings,
)
from aniportrait.data.media import write_video
from aniportrait.data.schema import SAMPLE_RATE
from aniportrait.data.sound import NoAudioError, read_audio
from aniportrait.face.canonical import load_canonical_face
from aniportrait.face.task_file import find_task_file
from aniportrait.pipelines.audio_driven import AudioDriven
from aniportrait.pipelines.head_motion import HeadMotion, PoseTemplate, StillHead
from aniportrait.pipelines.landmark_track import LandmarkTrack
from aniportrait.pipelines.picture import Picture, prepare_picture, read_image
from aniportrait.pipelines.reenact import Reenact

log = logging.getLogger(__name__)


def animate(config: DictConfig) -> None:
    """Write the video that `config` asks for; the sound is the voice's or the driving video's."""
    if (config.audio is None) == (config.driving is None):
        raise ValueError("animate needs either audio=SOUND or driving=VIDEO, one of them")
    _check_inputs(config)
    weights = open_weights(config.weights)
    image = read_image(config.portrait)
    with face_landmarker(config.paths, "image") as landmarker:
        picture = prepare_picture(image, landmarker, f"portrait {config.portrait}")
    speak = _speak if config.audio is not None else _follow
    frames, fps, sound = speak(config, weights, picture)
    write_video(config.out, frames, fps, sound)
    log.info("wrote %s: %d frames at %g fps", config.out, len(frames), fps)


def _check_inputs(config: DictConfig) -> None:
    for setting in ("portrait", "audio", "driving"):
        path = config[setting]
        if path is not None and not Path(path).is_file():
            raise FileNotFoundError(
                f"{setting}={path} does not exist (a path with spaces, parentheses or commas is written "
                f"'{setting}=\"my file (1)\"')"
            )
    if Path(config.out).suffix.lower() not in (".mp4", ".mov", ".mkv"):
        raise ValueError(f"out={config.out} must end in .mp4, .mov or .mkv")
    for setting, unit in (("duration", "seconds"), ("fps", "frames per second")):
        if config[setting] is not None and config[setting] <= 0:
            raise ValueError(f"{setting} ({config[setting]:g}) must be more than 0 {unit}")


def _speak(config: DictConfig, weights: Weights, picture: Picture) -> tuple[np.ndarray, float, Any]:
    audio = read_audio(config.audio)
    if config.duration is not None:
        audio = audio[: max(1, round(config.duration * SAMPLE_RATE))]
    mesh_fps = float(weights.card("audio2mesh")["settings"]["fps"])
    fps = mesh_fps if config.fps is None else float(config.fps)
    pipeline = AudioDriven(
        load_network(weights, "audio2mesh", config.paths).to(config.device),
        mesh_fps,
        _head_motion(config, weights, fps, len(audio) / SAMPLE_RATE),
        portrait_pipeline(weights, config),
        fps,
        load_canonical_face(find_task_file(config.paths.face_landmarker)),
    )
    with Progress() as bar:
        frames = pipeline(picture, audio, sampling_settings(weights, config, config.steps), bar.report)
    return frames, fps, audio if config.duration is not None else config.audio


def _follow(config: DictConfig, weights: Weights, picture: Picture) -> tuple[np.ndarray, float, Any]:
    fps = float(weights.card("denoising_unet")["settings"]["fps"] if config.fps is None else config.fps)
    driving = LandmarkTrack(read_track(config.driving, fps, config.paths, config.duration), fps)
    face = load_canonical_face(find_task_file(config.paths.face_landmarker))
    with Progress() as bar:
        frames = Reenact(portrait_pipeline(weights, config), face)(
            picture, driving, sampling_settings(weights, config, config.steps), bar.report
        )
    return frames, fps, _sound_of(config, len(frames) / fps)


def _sound_of(config: DictConfig, seconds: float) -> np.ndarray | None:
    try:
        return read_audio(config.driving, start=0.0)[: round(seconds * SAMPLE_RATE)]
    except NoAudioError:
        log.warning("driving=%s has no sound: the result is silent", config.driving)
        return None


def _head_motion(config: DictConfig, weights: Weights, fps: float, seconds: float) -> HeadMotion:
    if config.head_pose == "still":
        return StillHead()
    if config.head_pose == "predicted":
        if "audio2pose" not in weights:
            raise WeightsError(f"{weights.source} holds no audio2pose: add head_pose=still")
        return predicted_motion(weights, config, config.style)
    path = Path(config.head_pose)
    if not path.is_file():
        raise ValueError(
            f"head_pose={config.head_pose} must be predicted, still, a template (.npz, .npy) or a video"
        )
    if path.suffix.lower() in (".npz", ".npy"):
        return PoseTemplate.load(path)
    return PoseTemplate.of_film(LandmarkTrack(read_track(path, fps, config.paths, seconds), fps))


class Progress:
    """A bar over sampling steps, whatever their number turns out to be."""

    def __enter__(self) -> "Progress":
        self._bar = tqdm(desc="sampling", unit="step")
        return self

    def report(self, done: int, total: int) -> None:
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def __exit__(self, *exception: object) -> None:
        self._bar.close()
