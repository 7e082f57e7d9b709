"""What a model card may choose among: the options of conf/ that decide what a network is, without Hydra."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin

from aniportrait.checkpoints.store import Weights, WeightsError
from aniportrait.diffusion.context import ClosedLoopWindows, OpenWindows
from aniportrait.diffusion.noise_schedule import build_scheduler
from aniportrait.models.audio2mesh import PublishedHead, TemporalHead
from aniportrait.models.audio2pose import Audio2Pose
from aniportrait.models.audio_encoder import LogMelEncoder, Wav2Vec2Encoder
from aniportrait.models.autoencoder import SDVae, SpaceToDepth, Taef2
from aniportrait.models.image_encoder import ClipImageEncoder, ThumbnailEncoder, TinyImageEncoder
from aniportrait.models.latent_space import AbsoluteLatents, PortraitRelativeLatents
from aniportrait.models.moonshine_encoder import MoonshineEncoder
from aniportrait.models.pose_guider import PublishedPoseGuider, ReferenceAwarePoseGuider
from aniportrait.models.published_audio2pose import PublishedAudio2Pose
from aniportrait.pipelines.head_motion import PredictedMotion
from aniportrait.pipelines.published_motion import PublishedMotion
from aniportrait.pipelines.sampling_settings import SamplingSettings

PRETRAINED = "pretrained_model"
"""Where weights lie that no folder brings, unless somebody says otherwise."""
NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Option:
    """One option of a choice.

    Args:
        build: a class or function. Its own defaults hold for what nobody states, so that a setting added
            later must default to what networks did before it.
        fixed: its arguments, unless a card states other numbers.
        folder: where its weights lie under the folder of pretrained files, for its argument `path`.
    """

    build: Callable[..., Any]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    folder: str | None = None

    def __call__(
        self,
        pretrained: str | Path = PRETRAINED,
        numbers: Mapping[str, Any] = NONE,
        what: str = "",
        **parts: Any,
    ) -> Any:
        """Build it; see `arguments`. WeightsError where nothing can be built of the numbers."""
        arguments = self.arguments(pretrained, numbers, what, **parts)
        try:
            return self.build(**arguments)
        except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
            if not numbers:
                raise
            raise WeightsError(f"{what} states numbers of which nothing can be built: {error}") from error

    def arguments(
        self,
        pretrained: str | Path = PRETRAINED,
        numbers: Mapping[str, Any] = NONE,
        what: str = "",
        **parts: Any,
    ) -> dict[str, Any]:
        """What it is built with; WeightsError where `numbers` are no settings of it, or no numbers and none of `words`.

        Args:
            pretrained: the folder of pretrained files.
            numbers: what the card states.
            what: the network's name in messages.
            parts: arguments that are built already, which no card can set.
        """
        known, words = inspect.signature(self.build).parameters, self.words
        for name, value in _mapping(numbers, what).items():
            if name not in known or name in parts:
                raise WeightsError(f"{what} sets {name}, which is no setting of this version")
            if name in words:
                if value not in words[name]:
                    raise WeightsError(
                        f"{what} sets {name} to {value!r}, which must be one of {', '.join(words[name])}"
                    )
            elif not _is_numbers(value):
                raise WeightsError(f"{what} sets {name} to {value!r}, which must be a number")
        path = {} if self.folder is None else {"path": Path(pretrained) / self.folder}
        return path | dict(self.fixed) | dict(numbers) | parts

    @property
    def words(self) -> dict[str, tuple[str, ...]]:
        """Its settings that are no numbers but one of these words; a card can state them."""
        annotations = {name: own.annotation for name, own in inspect.signature(self.build).parameters.items()}
        return {name: get_args(kind) for name, kind in annotations.items() if get_origin(kind) is Literal}


CHOICES: dict[str, dict[str, Option]] = {
    "model": {
        "sd15": Option(SamplingSettings, {"steps": 25, "guidance_scale": 3.5}),
        "tiny": Option(SamplingSettings, {"steps": 4, "guidance_scale": 1.0, "shared_noise": 1.0}),
    },
    "autoencoder": {
        "sd_vae": Option(SDVae, folder="sd-vae-ft-mse"),
        "space_to_depth": Option(SpaceToDepth),
        "taef2": Option(Taef2, folder="taef2"),
    },
    "image_encoder": {
        "clip": Option(ClipImageEncoder, folder="image_encoder"),
        "thumbnail": Option(ThumbnailEncoder, {"size": 8}),
        "tiny": Option(TinyImageEncoder, {"embed_width": 64}),
    },
    "audio_encoder": {
        "log_mel": Option(LogMelEncoder, {"width": 128}),
        "moonshine": Option(MoonshineEncoder, {"path": None}),
        "wav2vec2": Option(Wav2Vec2Encoder, folder="wav2vec2-base-960h"),
    },
    "mesh_head": {
        "temporal": Option(TemporalHead),
        "small": Option(TemporalHead),
        "published": Option(PublishedHead),
    },
    "audio2pose": {"ours": Option(Audio2Pose), "published": Option(PublishedAudio2Pose)},
    "pose_guider": {
        "reference_aware": Option(ReferenceAwarePoseGuider),
        "published": Option(PublishedPoseGuider, {"statistics": "batch", "input_range": (-1.0, 509.0)}),
        "published_running": Option(
            PublishedPoseGuider, {"statistics": "running", "input_range": (-1.0, 1.0)}
        ),
    },
    "noise_schedule": {
        "scaled_linear": Option(build_scheduler),
        "published_sampling": Option(build_scheduler, {"beta_schedule": "linear"}),
        "clean_prediction": Option(
            build_scheduler,
            {"beta_start": 0.002, "beta_end": 0.06, "beta_schedule": "linear", "prediction_type": "sample"},
        ),
    },
    "latent_space": {
        "absolute": Option(AbsoluteLatents),
        "portrait_relative": Option(PortraitRelativeLatents, {"scale": 3.0}),
    },
    "windows": {"open": Option(OpenWindows), "closed_loop": Option(ClosedLoopWindows)},
}
"""Config groups that decide what a network is; a card names its option of each.

Of a `model` there is nothing but how its frames are sampled, unless somebody says otherwise: sizes are in the cards."""

HEAD_MOTION: Mapping[str, Callable[..., Any]] = {
    "ours": partial(PredictedMotion, smoothing=5),
    "published": partial(PublishedMotion, rotation_scale=0.5, smoothing=7, chunk_frames=150),
}
"""How the answers of each `audio2pose` become head motion: (network, style).

The published one's as upstream: 5 s at 30 fps at a time, half the rotation, a mean over 7 frames."""


@dataclass(frozen=True)
class TrainedAt:
    """What a network was trained at.

    Args:
        fps: frames per second.
        image_size: side of the frames, pixels.
        motion_frames: of a window.
    """

    fps: float
    image_size: int
    motion_frames: int = 16


def choices_of(weights: Weights, name: str) -> Mapping[str, str]:
    """Group -> option, of every group in CHOICES, as the card of `name` says."""
    choices = _mapping(weights.card(name).get("choices"), f"{weights.source}: the choices of {name}")
    for group in CHOICES:
        if group not in choices:
            raise WeightsError(
                f"{weights.source}: the card of {name} chooses no {group}: another version wrote it"
            )
    for group, option in choices.items():
        if option not in list(CHOICES.get(group, ())):  # compared, not hashed: a card can hold anything
            raise WeightsError(
                f"{weights.source} chooses {group}={option}, which is no choice of this version"
            )
    return choices


def option_of(weights: Weights, name: str, group: str) -> Option:
    """The option of a group that the card of the network `name` chooses."""
    return CHOICES[group][choices_of(weights, name)[group]]


def sizes_of(weights: Weights, name: str) -> dict[str, Any]:
    """The numbers that the card of `name` states."""
    return dict(_mapping(weights.card(name).get("sizes"), f"{weights.source}: {name}"))


def numbers_of(weights: Weights, name: str, group: str) -> dict[str, Any]:
    """The numbers of its option of a group that the card of `name` states; earlier versions stated none."""
    what = f"{weights.source}: the numbers of {name}"
    stated = _mapping(_mapping(weights.card(name).get("numbers", {}), what).get(group, {}), what)
    return {key: value for key, value in stated.items() if value is not None}


def trained_at(weights: Weights, name: str) -> TrainedAt:
    """What the card of `name` says it was trained at."""
    what = f"{weights.source}: the settings of {name}"
    settings = _mapping(weights.card(name).get("settings"), what)
    stated = {own.name: settings[own.name] for own in fields(TrainedAt) if own.name in settings}
    for setting, value in stated.items():
        kinds = (int, float) if setting == "fps" else (int,)
        if isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value < math.inf:
            kind = "number" if setting == "fps" else "whole number"
            raise WeightsError(f"{what} have {setting} {value!r}, which must be a {kind} above 0")
    if missing := {"fps", "image_size"} - set(stated):
        raise WeightsError(f"{what} lack {min(missing)}: another version wrote them")
    return TrainedAt(**stated)


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    """`value`, part of a card; WeightsError where it is something else than settings by name."""
    if not isinstance(value, Mapping):
        raise WeightsError(f"{what}: the card says {value!r}, which must be settings by name")
    return value


def _is_numbers(value: Any) -> bool:
    """Nothing, a number, a list of numbers, or these by name."""
    if isinstance(value, Mapping):
        return all(_is_plain(item) for item in value.values())
    return _is_plain(value)


def _is_plain(value: Any) -> bool:
    return value is None or all(
        isinstance(item, bool | int | float) for item in (value if isinstance(value, list) else [value])
    )
