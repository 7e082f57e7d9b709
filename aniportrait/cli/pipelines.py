"""Pipelines wired from a weights folder and an entry's settings."""

from dataclasses import replace
from typing import Any, Literal

from omegaconf import DictConfig

from aniportrait.checkpoints.store import Weights
from aniportrait.face.landmarks import FaceLandmarker
from aniportrait.models.inference import PRECISIONS, check_precision, for_inference
from aniportrait.pipelines import saved_networks
from aniportrait.pipelines.head_motion import HeadMotion
from aniportrait.pipelines.portrait import PortraitPipeline
from aniportrait.pipelines.sampling_settings import SamplingSettings


def portrait_pipeline(
    weights: Weights, config: DictConfig, *, motion: bool | None = None
) -> PortraitPipeline:
    """The frame sampler of a weights folder; with its motion modules if it has them, unless `motion` says otherwise.

    Windows are those that `config.context` names, or else those of the weights. In half precision it is made ready for
    sampling as animate.py makes it.
    """
    check_precision(config.precision)
    pipeline = saved_networks.portrait_pipeline(
        weights, config.paths.pretrained, config.device, motion=motion, context=config.context
    )
    if config.precision != "fp32":
        for_inference(pipeline.networks, PRECISIONS[config.precision])
    return pipeline


def predicted_motion(weights: Weights, config: DictConfig, style: int | None = None) -> HeadMotion:
    """How heads move by the audio2pose of a weights folder."""
    return saved_networks.predicted_motion(weights, config.paths.pretrained, config.device, style)


def sampling_settings(weights: Weights, config: DictConfig, steps: int | None) -> SamplingSettings:
    """Steps, guidance and shared noise that `config` asks for, else what the weights state; the seed of `config`."""
    names = ("guidance_scale", "guidance_rescale", "guidance_interval", "shared_noise")
    asked = {name: config[name] for name in names}
    settings: dict[str, Any] = {
        name: value for name, value in (asked | {"steps": steps}).items() if value is not None
    }
    return replace(saved_networks.own_sampling(weights), seed=config.seed, **settings)


def face_landmarker(paths: DictConfig, mode: Literal["image", "video"]) -> FaceLandmarker:
    """A landmarker with the model file that `paths.face_landmarker` names or that can be found."""
    return FaceLandmarker(paths.face_landmarker, mode)
