"""Building networks: from a config for training, from a weights folder for everything else."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import nn

from aniportrait.checkpoints.store import Weights, WeightsError, is_motion_key, load_strictly
from aniportrait.models.audio_encoder import Wav2Vec2Encoder
from aniportrait.models.portrait_networks import PortraitNetworks
from aniportrait.pipelines.saved_choices import CHOICES, choices_of, numbers_of, sizes_of, trained_at

log = logging.getLogger(__name__)

DECISIVE = {
    "audio2mesh": ("model", "audio_encoder", "mesh_head"),
    "audio2pose": ("model", "audio_encoder", "audio2pose"),
    "reference_net": ("model", "autoencoder", "image_encoder"),
    "denoising_unet": ("model", "autoencoder", "image_encoder", "latent_space"),
    "motion_module": ("model",),
    "pose_guider": ("model", "pose_guider"),
    "autoencoder": ("autoencoder",),
    "image_encoder": ("image_encoder",),
}
"""Network -> the choices without which its weights mean nothing."""

NUMBERED = {
    "model": "sampling",
    **{name: name for name in ("autoencoder", "image_encoder", "latent_space", "noise_schedule")},
}
"""Choice -> the config node of its numbers, which no network's sizes hold; weights from a path know their own."""

PREDICTED = "v_prediction"
"""What a denoiser predicts unless somebody says otherwise."""

SAME_KEYS = {"published_running": "published"}
"""Options whose networks hold the same weights as another option's, and only run differently."""


def card_of(config: DictConfig, name: str) -> dict[str, Any]:
    """What must be known to build the network `name` again: choices from conf/, plain numbers, nothing to execute."""
    return card_with(config, name, HydraConfig.get().runtime.choices)


def card_with(config: DictConfig, name: str, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """As `card_of`, with the choices that `config` was composed with."""
    return {
        "choices": {group: chosen[group] for group in CHOICES},
        "sizes": _numbers(OmegaConf.to_container(node_of(config, name), resolve=True)),
        "settings": {
            "fps": config.fps,
            "image_size": config.image_size,
            "motion_frames": config.motion_frames,
        },
        "numbers": {
            group: _numbers(
                OmegaConf.to_container(config[node], resolve=True), CHOICES[group][chosen[group]].words
            )
            for group, node in NUMBERED.items()
            if config.get(node) is not None and CHOICES[group][chosen[group]].folder is None
        },
    }


def build_portrait_networks(config: DictConfig, *, motion: bool) -> PortraitNetworks:
    """Fresh networks as a training config describes them."""
    nodes = config.networks
    denoising_unet = instantiate(nodes.denoising_unet)
    return PortraitNetworks(
        reference_net=instantiate(nodes.reference_net),
        pose_guider=instantiate(nodes.pose_guider),
        denoising_unet=add_motion(denoising_unet, config) if motion else denoising_unet,
        autoencoder=instantiate(nodes.autoencoder),
        image_encoder=instantiate(nodes.image_encoder),
        latent_space=instantiate(config.latent_space),
    )


def add_motion(denoising_unet: Any, config: DictConfig) -> Any:
    """The same denoiser with fresh motion modules, which change nothing until they are trained."""
    return denoising_unet.with_motion(**config.sizes.motion)


def load_spatial(denoising_unet: nn.Module, weights: Weights) -> None:
    """Copy the weights called denoising_unet into a denoiser that may have motion modules, which keep theirs."""
    weights.card("denoising_unet")
    motion = {key: value for key, value in denoising_unet.state_dict().items() if is_motion_key(key)}
    load_strictly(
        denoising_unet,
        motion | dict(weights.states["denoising_unet"]),
        f"denoising_unet from {weights.source}",
    )


def record_sizes(config: DictConfig, networks: nn.Module) -> None:
    """State in the config how large the encoders are that came from a path, so that cards can say it.

    An autoencoder is left out: it stays where it was found, and so does what is known of it.
    """
    named: dict[str, Any] = dict(networks.named_children())
    if "image_encoder" in named and "sizes" in config.image_encoder:
        config.image_encoder.sizes = named["image_encoder"].sizes
    for network in named.values():
        encoder = getattr(network, "encoder", None)
        if isinstance(encoder, Wav2Vec2Encoder):
            config.audio_encoder.config = encoder.sizes


def states_of(networks: nn.Module, config: DictConfig) -> dict[str, dict[str, torch.Tensor]]:
    """Named state dicts of what a LightningModule holds under `.networks`, motion modules apart.

    An autoencoder is left where it was found, unless it came with `weights=`.
    """
    states: dict[str, dict[str, torch.Tensor]] = {}
    for name, network in networks.named_children():
        state = network.state_dict()
        if (name == "autoencoder" and config.autoencoder.get("sizes") is None) or not state:
            continue
        motion = {key: value for key, value in state.items() if is_motion_key(key)}
        states[name] = {key: value for key, value in state.items() if key not in motion}
        if motion:
            states["motion_module"] = motion
    return states


def fit_to_weights(config: DictConfig, weights: Weights, names: Iterable[str]) -> None:
    """Give the networks that `weights` bring their sizes, in a training's config.

    Sizes follow the weights; choices are the user's: where they differ, WeightsError says what to add.
    """
    chosen = HydraConfig.get().runtime.choices
    brought = [name for name in names if name in weights]
    differing: dict[str, str] = {}
    for name in brought:
        differing |= differing_choices(
            weights, name, chosen, config.noise_schedule.get("prediction_type", PREDICTED)
        )
    if differing:
        settings = " ".join(f"{group}={option}" for group, option in differing.items())
        raise WeightsError(
            f"{weights.source} holds networks of other choices than this run's: add {settings}"
        )
    for name in brought:
        sizes = sizes_of(weights, name)
        if name == "pose_guider" and chosen[name] != choices_of(weights, name)[name]:  # see SAME_KEYS
            sizes = {key: size for key, size in sizes.items() if key not in CHOICES[name][chosen[name]].fixed}
        set_numbers(node_of(config, name), sizes, f"{weights.source}: {name}")
    if "denoising_unet" in brought:
        for group in DECISIVE["denoising_unet"]:
            if group != "model":  # how frames are sampled is this run's to say
                stated = numbers_of(weights, "denoising_unet", group)
                set_numbers(config[group], stated, f"{weights.source}: {group}")
    for key in ("fps", "image_size") if "denoising_unet" in brought else ("fps",):
        theirs = {getattr(trained_at(weights, name), key) for name in brought} - {config[key]}
        if theirs:
            stated = ", ".join(str(value) for value in sorted(theirs))
            log.warning("%s has %s %s, this run %s", weights.source, key, stated, config[key])


def differing_choices(
    weights: Weights, name: str, chosen: Mapping[str, str], predicted: str = PREDICTED
) -> dict[str, str]:
    """Group -> option of the choices without which the weights called `name` mean nothing, where `chosen` differs.

    Args:
        weights: what holds `name`.
        name: a network.
        chosen: group -> option.
        predicted: what a denoiser beside these choices predicts.
    """
    theirs = choices_of(weights, name)
    differing = {
        group: theirs[group]
        for group in DECISIVE[name]
        if SAME_KEYS.get(theirs[group], theirs[group]) != SAME_KEYS.get(chosen[group], chosen[group])
    }
    if name == "denoising_unet":
        fixed = CHOICES["noise_schedule"][theirs["noise_schedule"]].fixed
        of_option = fixed.get("prediction_type", PREDICTED)
        stated = numbers_of(weights, name, "noise_schedule").get("prediction_type", of_option)
        if stated != predicted:
            differing["noise_schedule"] = theirs["noise_schedule"]
            if stated != of_option:  # somebody's word
                differing["++noise_schedule.prediction_type"] = stated
    return differing


def node_of(config: DictConfig, name: str) -> DictConfig:
    """The config node whose numbers size the network `name`."""
    return config.sizes.motion if name == "motion_module" else config.networks[name]


def _numbers(node: Any, words: Iterable[str] = ()) -> Any:
    """The numbers of a config node, nested, and `words`; names, paths and whatever Hydra would act upon left out."""
    kept: dict[str, Any] = {}
    for key, value in node.items():
        if key.startswith("_"):
            continue
        if isinstance(value, Mapping):
            kept[key] = _numbers(value)
        elif _is_plain(value) or key in words:
            kept[key] = value
    return kept


def _is_plain(value: Any) -> bool:
    """Nothing, a number, or a list of numbers."""
    return value is None or all(
        isinstance(item, bool | int | float) for item in (value if isinstance(value, list) else [value])
    )


def set_numbers(node: DictConfig, sizes: Mapping[str, Any], what: str) -> None:
    for key, value in sizes.items():
        if key.startswith("_") or key not in node:
            raise WeightsError(f"{what} sets {key}, which is no setting of this version")
        if isinstance(value, Mapping) and node[key] is not None:
            set_numbers(node[key], value, f"{what}.{key}")
        elif _is_plain(value) or (isinstance(value, Mapping) and all(map(_is_plain, value.values()))):
            node[key] = value
        else:
            raise WeightsError(f"{what} sets {key} to {value!r}, which must be a number")
