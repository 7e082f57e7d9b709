"""What is asked for: whose face, what drives it, how it is sampled and finished."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aniportrait.pipelines.expression import ExpressionStrength

HEAD_POSES = ("predicted", "still", "driving", "absolute")


@dataclass(frozen=True)
class Request:
    """One animation. What is None is as the weights or the driving file have it.

    `audio` alone: the portrait speaks. `driving` or `track` alone: it does as that face does. Both: mouth and sound are
    the voice's, the rest of the face and the head the film's, which goes back and forth where it is shorter.

    Args:
        portrait: a picture file, or (h, w, 3) uint8 RGB.
        audio: a voice: a sound file, or a video's sound.
        driving: a video of the face to follow.
        track: the same as measured before, an .npz of pose_template.py.
        head_pose: "predicted" from the voice, "still", "driving" (as the driving head moves, from where the portrait
            is), "absolute" (turned as the driving head is), or a file: a template, a track, a video. None: as the
            driving head if there is one, else as predicted.
        style: which training identity's predicted head motion; None: their mean, of published weights the seed's.
        expression, eyes, mouth: how strong the expression is, in whole and there; 0 is none, 1 as it is, at most 3.
        face: which face of the portrait, from 1, the largest; None: the largest.
        fps: frames per second; None: the model's own.
        duration: seconds of the beginning to make.
        paste_back: whether frames are the whole picture, with the face put back into it, and not the square around it;
            shrunk to 2160 pixels if it is larger.
        label: whether every frame says that it is AI-generated.
        speed: exact, balanced or fast.
        seed: of noise and head motion.
        steps, solver, guidance_scale, guidance_rescale, guidance_interval, shared_noise: in place of what weights and
            speed say; see SamplingSettings.
    """

    portrait: str | Path | np.ndarray
    audio: str | Path | None = None
    driving: str | Path | None = None
    track: str | Path | None = None
    head_pose: str | Path | None = None
    style: int | None = None
    expression: float = 1.0
    eyes: float = 1.0
    mouth: float = 1.0
    face: int | None = None
    fps: float | None = None
    duration: float | None = None
    paste_back: bool = False
    label: bool = False
    speed: str = "exact"
    seed: int = 42
    steps: int | None = None
    solver: str | None = None
    guidance_scale: float | None = None
    guidance_rescale: float | None = None
    guidance_interval: tuple[float, float] | None = None
    shared_noise: float | None = None

    def __post_init__(self) -> None:
        if self.portrait is None:
            raise ValueError("there is no portrait: give portrait=PICTURE")
        if self.driving is not None and self.track is not None:
            raise ValueError(
                f"driving={self.driving} and track={self.track} both say what to follow: give one of them"
            )
        if self.audio is None and self.driving is None and self.track is None:
            raise ValueError(
                "nothing drives the portrait: give audio=SOUND, driving=VIDEO or track=TRACK.npz"
            )
        if self.head_pose == "predicted" and self.audio is None and self.driving is None:
            raise ValueError("head_pose=predicted needs a voice: give audio=SOUND")
        if self.head_pose in ("driving", "absolute") and self.driving is None and self.track is None:
            raise ValueError(
                f"head_pose={self.head_pose} needs a head to follow: give driving=VIDEO or track=TRACK.npz"
            )
        for name, unit in (("duration", "seconds"), ("fps", "frames per second")):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{name} ({value:g}) must be more than 0 {unit}")
        if self.fps is not None and not 1 <= self.fps <= 120:
            raise ValueError(f"fps ({self.fps:g}) must be from 1 to 120")
        if (
            self.head_pose is not None
            and self.head_pose not in HEAD_POSES
            and not Path(self.head_pose).is_file()
        ):
            raise ValueError(
                f"head_pose={self.head_pose} must be {', '.join(HEAD_POSES)}, or a file: "
                "a template (.npz, .npy) or a video"
            )
        for name in ("portrait", "audio", "driving", "track"):
            self._check_file(name)

    @property
    def strength(self) -> ExpressionStrength:
        return ExpressionStrength(self.expression, self.eyes, self.mouth)

    def _check_file(self, name: str) -> None:
        path = getattr(self, name)
        if path is None or isinstance(path, np.ndarray) or Path(path).is_file():
            return
        if Path(path).is_dir():
            raise ValueError(f"{name}={path} is a folder, not a file")
        raise FileNotFoundError(f"{name}={path} does not exist")
