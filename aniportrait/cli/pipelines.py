"""Pipelines wired from a weights folder and an entry's settings."""

from typing import Literal

from hydra.utils import instantiate
from omegaconf import DictConfig

from aniportrait.checkpoints.store import Weights, WeightsError
from aniportrait.cli.networks import load_network, load_portrait_networks, weights_config
from aniportrait.face.landmarks import FaceLandmarker
from aniportrait.pipelines.head_motion import HeadMotion, NetworkMotion
from aniportrait.pipelines.portrait import PortraitPipeline, SamplingSettings

WINDOWS = ("open", "closed_loop")
"""Options of the config group `windows`."""


def portrait_pipeline(
    weights: Weights, config: DictConfig, *, motion: bool | None = None
) -> PortraitPipeline:
    """The frame sampler of a weights folder; with its motion modules if it has them, unless `motion` says otherwise.

    Windows are those that `config.context` names, or else those of the weights.
    """
    if config.context not in (None, *WINDOWS):
        raise ValueError(f"context={config.context} must be one of {', '.join(WINDOWS)}")
    chosen = {} if config.context is None else {"windows": config.context}
    trained = weights_config(weights, "denoising_unet", config.paths, chosen)
    with_motion = "motion_module" in weights if motion is None else motion
    networks = load_portrait_networks(weights, config.paths, motion=with_motion).to(config.device)
    return PortraitPipeline(
        networks,
        instantiate(trained.noise_schedule),
        trained.image_size,
        instantiate(trained.windows),
    )


def predicted_motion(weights: Weights, config: DictConfig, style: int | None = None) -> HeadMotion:
    """How heads move by the audio2pose of a weights folder."""
    if "audio2pose" not in weights:
        raise WeightsError(f"{weights.source} holds no audio2pose")
    audio2pose = load_network(weights, "audio2pose", config.paths).to(config.device)
    own = weights_config(weights, "audio2pose", config.paths)
    return NetworkMotion(instantiate(own.head_motion)(audio2pose, style), own.fps)


def sampling_settings(weights: Weights, config: DictConfig, steps: int | None) -> SamplingSettings:
    """Steps and the guidance that `config` asks for, else what the weights' model states; the seed of `config`."""
    own = weights_config(weights, "denoising_unet", config.paths).sampling
    guidance = {
        name: own[name] if config[name] is None else config[name]
        for name in ("guidance_scale", "guidance_rescale", "guidance_interval")
    }
    interval = guidance.pop("guidance_interval")
    if len(interval) != 2:
        raise ValueError(f"guidance_interval ({list(interval)}) must be two numbers, as in [0.2,0.8]")
    return SamplingSettings(
        steps=own.steps if steps is None else steps,
        guidance_interval=(interval[0], interval[1]),
        shared_noise=own.shared_noise,
        seed=config.seed,
        **guidance,
    )


def face_landmarker(paths: DictConfig, mode: Literal["image", "video"]) -> FaceLandmarker:
    """A landmarker with the model file that `paths.face_landmarker` names or that can be found."""
    return FaceLandmarker(paths.face_landmarker, mode)
