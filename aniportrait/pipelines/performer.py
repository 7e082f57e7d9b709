"""From what drives a portrait to what it shows: a voice, a film, a measured track, or a voice and one of these."""

import logging
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Generator, Tensor

from aniportrait.checkpoints.store import Weights
from aniportrait.data.media import probe
from aniportrait.data.schema import SAMPLE_RATE
from aniportrait.data.sound import NoAudioError, read_audio
from aniportrait.data.soundtrack import SoundFile, soundtrack
from aniportrait.face.canonical import CanonicalFace
from aniportrait.face.landmarks import FaceLandmarker, NoFaceError
from aniportrait.pipelines.animation import Performance
from aniportrait.pipelines.audio_driven import speaking_landmarks
from aniportrait.pipelines.face_track import read_track
from aniportrait.pipelines.head_motion import HeadMotion, PoseTemplate, StillHead, frame_count
from aniportrait.pipelines.landmark_track import LandmarkTrack
from aniportrait.pipelines.picture import Picture
from aniportrait.pipelines.reenact import FILM_SMOOTHING, driven_landmarks
from aniportrait.pipelines.request import Request
from aniportrait.pipelines.saved_networks import load_network, own_fps, predicted_motion
from aniportrait.pipelines.speech_offsets import SpeechOffsets

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""
SHORTEST = 0.1
"""Seconds of voice that can be animated."""


class Performer:
    """Says what a portrait does, with the speech networks of a weights folder.

    Args:
        weights: of audio2mesh, and of audio2pose for predicted head motion; a film needs neither.
        pretrained: where speech encoders lie that the weights do not bring.
        device: of the speech networks.
        face: the canonical face.
    """

    def __init__(self, weights: Weights, pretrained: Path, device: str, face: CanonicalFace):
        self._weights, self._pretrained, self._device, self._face = weights, pretrained, device, face

    def performance(
        self, request: Request, picture: Picture, landmarker: FaceLandmarker, progress: Progress | None = None
    ) -> Performance:
        """What the portrait shows, and the sound beside it.

        Args:
            progress: called with ("landmarks", frames done, frames in all) while a film is measured.
        """
        if request.driving is None and request.track is None:
            return self._speaking(request, picture, landmarker)
        return self._following(request, picture, landmarker, progress)

    def _speaking(self, request: Request, picture: Picture, landmarker: FaceLandmarker) -> Performance:
        voice = _voice(request).to(self._device)
        fps = request.fps or own_fps(self._weights, "audio2mesh")
        frames = frame_count(voice.shape[-1], fps)
        motion = self._head_motion(request, picture, fps, frames / fps, landmarker)
        head_pose = motion(voice, frames, fps, self._generator(request))
        speech = self._speech(voice, fps)
        points = speaking_landmarks(picture, speech, head_pose, self._face, request.strength)
        return Performance(points, fps, SoundFile(cast(str, request.audio)))

    def _following(
        self, request: Request, picture: Picture, landmarker: FaceLandmarker, progress: Progress | None
    ) -> Performance:
        speaks = request.audio is not None
        fps = request.fps or own_fps(self._weights, "audio2mesh" if speaks else "denoising_unet")
        sound = SoundFile(cast(str, request.audio)) if speaks else _sound_of_film(request)
        heard = _voice(request).to(self._device) if speaks else None
        seconds = request.duration if heard is None else heard.shape[-1] / SAMPLE_RATE
        film, speech = _film(request, fps, seconds, landmarker, progress), None
        if heard is not None:
            film, speech = film.played(frame_count(heard.shape[-1], fps), fps), self._speech(heard, fps)
        frames, head_pose = len(film.face), None
        if not film.face.valid.any():
            raise NoFaceError(
                f"{'track' if request.driving is None else 'driving'}={request.track or request.driving} shows no face "
                f"in its first {frames / fps:.2f} s, which are what is used"
            )
        if request.head_pose == "absolute":
            pose = picture.track.pose_matrix[0]
            head_pose = PoseTemplate.of_film(film, pose, "absolute", FILM_SMOOTHING).head_pose
        elif request.head_pose not in (None, "driving"):
            if request.head_pose == "predicted" and not speaks:
                heard = _heard(request, sound, frames / fps).to(self._device)
            motion = self._head_motion(request, picture, fps, frames / fps, landmarker)
            head_pose = motion(heard, frames, fps, self._generator(request))
        points = driven_landmarks(picture, film, self._face, request.strength, head_pose, speech)
        return Performance(points, fps, sound)

    def _generator(self, request: Request) -> Generator:
        return Generator(self._device).manual_seed(request.seed)

    def _speech(self, voice: Tensor, fps: float) -> SpeechOffsets:
        mesh_fps = own_fps(self._weights, "audio2mesh")
        return SpeechOffsets(self._audio2mesh, mesh_fps, voice, fps)

    @cached_property
    def _audio2mesh(self) -> Any:
        return load_network(self._weights, "audio2mesh", self._pretrained).to(self._device)

    def _head_motion(
        self,
        request: Request,
        picture: Picture,
        fps: float,
        seconds: float,
        landmarker: FaceLandmarker,
    ) -> HeadMotion:
        wanted = request.head_pose or "predicted"
        if wanted == "still":
            return StillHead()
        if wanted == "predicted":
            return predicted_motion(self._weights, self._pretrained, self._device, request.style)
        path, pose = Path(wanted), picture.track.pose_matrix[0]
        if path.suffix.lower() in (".npz", ".npy"):
            return PoseTemplate.load(path, pose)
        return PoseTemplate.of_film(LandmarkTrack(read_track(path, fps, landmarker, seconds), fps), pose)


def _voice(request: Request) -> Tensor:
    """(1, n) at 16 kHz, the beginning that is asked for."""
    audio = read_audio(cast(str, request.audio), longest=request.duration)
    if request.duration is not None:
        audio = audio[: round(request.duration * SAMPLE_RATE)]
    if len(audio) < SHORTEST * SAMPLE_RATE:
        raise ValueError(
            f"audio={request.audio} has {len(audio) / SAMPLE_RATE:.3f} s to animate, at least {SHORTEST:g} s are needed"
        )
    return torch.from_numpy(np.asarray(audio, np.float32))[None]


def _film(
    request: Request, fps: float, seconds: float | None, landmarker: FaceLandmarker, progress: Progress | None
) -> LandmarkTrack:
    """The face to follow, at `fps`, its first `seconds`."""
    if request.driving is not None:
        return LandmarkTrack(read_track(request.driving, fps, landmarker, seconds, progress), fps)
    film = LandmarkTrack.load(cast(str, request.track)).at(fps)
    if seconds is None:
        return film
    return LandmarkTrack(film.face[: max(1, round(seconds * fps))], fps)


def _sound_of_film(request: Request) -> SoundFile | None:
    """The driving film's own sound, from its first picture on."""
    if request.driving is None:
        return None
    sound = SoundFile(request.driving, probe(request.driving).start)
    try:
        soundtrack(sound)  # whether there is any: at the end it would be late to know
    except NoAudioError:
        log.warning("driving=%s has no sound: the result is silent", request.driving)
        return None
    return sound


def _heard(request: Request, sound: SoundFile | None, seconds: float) -> Tensor:
    """(1, n) the driving film's sound, for predicting from it how the head moves."""
    if sound is None:
        raise NoAudioError(f"head_pose=predicted needs a voice, and driving={request.driving} has no sound")
    begin = sound.begin or 0.0
    audio, samples = read_audio(sound.path, begin, begin + seconds), round(seconds * SAMPLE_RATE)
    audio = np.pad(audio[:samples], (0, max(0, samples - len(audio))))  # silence where the sound ends first
    return torch.from_numpy(np.asarray(audio, np.float32))[None]
