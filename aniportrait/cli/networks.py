"""Building networks: from a config for training, from a weights folder for everything else."""

from collections.abc import Mapping
from typing import Any

import torch
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import nn

from aniportrait.checkpoints.store import Weights, WeightsError, is_motion_key, load_strictly
from aniportrait.models.portrait_networks import PortraitNetworks

CHOICES = (
    "model",
    "autoencoder",
    "image_encoder",
    "audio_encoder",
    "mesh_head",
    "pose_guider",
    "noise_schedule",
    "windows",
)
"""Config groups that decide what a network is; a card names its option of each."""

PORTRAIT = ("reference_net", "pose_guider", "denoising_unet")
"""What the two steps of Lmk2Video train, but for the motion modules."""


def card_of(config: DictConfig, name: str) -> dict[str, Any]:
    """What must be known to build the network `name` again: choices from conf/, plain numbers, nothing to execute."""
    chosen = HydraConfig.get().runtime.choices
    return {
        "choices": {group: chosen[group] for group in CHOICES},
        "sizes": _numbers(OmegaConf.to_container(_node(config, name), resolve=True)),
        "settings": {"fps": config.fps, "image_size": config.image_size},
    }


def weights_config(
    weights: Weights, name: str, paths: DictConfig, chosen: Mapping[str, str] | None = None
) -> DictConfig:
    """The repository's own config with the choices and numbers that the card of `name` states, less those `chosen`.

    Classes come from conf/ alone: a card can choose among options that exist there and set numbers that exist there.
    """
    card = weights.card(name)
    overrides = []
    for group, option in {**card["choices"], **(chosen or {})}.items():
        if group not in CHOICES or not str(option).isidentifier():
            raise WeightsError(
                f"{weights.source} chooses {group}={option}, which is no choice of this version"
            )
        overrides.append(f"{group}={option}")
    config = compose("networks", overrides=overrides)
    config.paths = paths
    config.image_size = int(card["settings"]["image_size"])
    config.fps = float(card["settings"]["fps"])
    OmegaConf.resolve(config)
    _set_numbers(_node(config, name), card["sizes"], f"{weights.source}: {name}")
    return config


def load_network(weights: Weights, name: str, paths: DictConfig) -> Any:
    """Build the network `name` of a weights folder and load it, in eval mode."""
    network = instantiate(weights_config(weights, name, paths).networks[name])
    weights.load_into(name, network)
    return network.eval()


def load_portrait_networks(weights: Weights, paths: DictConfig, *, motion: bool) -> PortraitNetworks:
    """Build and load what animates a portrait; with `motion`, the motion modules as well."""
    config = weights_config(weights, "denoising_unet", paths)
    parts = {name: load_network(weights, name, paths) for name in PORTRAIT}
    image_encoder = instantiate(config.networks.image_encoder)
    if "image_encoder" in weights:
        weights.load_into("image_encoder", image_encoder)
    if motion:
        with_motion = weights_config(weights, "motion_module", paths)
        parts["denoising_unet"] = add_motion(parts["denoising_unet"], with_motion)
        load_motion(parts["denoising_unet"], weights)
    return PortraitNetworks(
        **parts, autoencoder=instantiate(config.networks.autoencoder), image_encoder=image_encoder
    ).eval()


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
    )


def add_motion(denoising_unet: Any, config: DictConfig) -> Any:
    """The same denoiser with fresh motion modules, which change nothing until they are trained."""
    return denoising_unet.with_motion(**config.sizes.motion)


def load_motion(denoising_unet: nn.Module, weights: Weights) -> None:
    """Copy the weights called motion_module into the motion modules of a denoiser."""
    weights.card("motion_module")
    state = denoising_unet.state_dict()
    spatial = {key: value for key, value in state.items() if not is_motion_key(key)}
    load_strictly(
        denoising_unet,
        spatial | dict(weights.states["motion_module"]),
        f"motion_module from {weights.source}",
    )


def load_spatial(denoising_unet: nn.Module, weights: Weights) -> None:
    """Copy the weights called denoising_unet into a denoiser that may have motion modules, which keep theirs."""
    weights.card("denoising_unet")
    motion = {key: value for key, value in denoising_unet.state_dict().items() if is_motion_key(key)}
    load_strictly(
        denoising_unet,
        motion | dict(weights.states["denoising_unet"]),
        f"denoising_unet from {weights.source}",
    )


def states_of(networks: nn.Module) -> dict[str, dict[str, torch.Tensor]]:
    """Named state dicts of what a LightningModule holds under `.networks`, motion modules apart."""
    states: dict[str, dict[str, torch.Tensor]] = {}
    for name, network in networks.named_children():
        state = network.state_dict()
        if name == "autoencoder" or not state:
            continue
        motion = {key: value for key, value in state.items() if is_motion_key(key)}
        states[name] = {key: value for key, value in state.items() if key not in motion}
        if motion:
            states["motion_module"] = motion
    return states


def _node(config: DictConfig, name: str) -> DictConfig:
    """The config node whose numbers size the network `name`."""
    return config.sizes.motion if name == "motion_module" else config.networks[name]


def _numbers(node: Any) -> Any:
    """The numbers of a config node, nested; names, paths and whatever Hydra would act upon left out."""
    kept: dict[str, Any] = {}
    for key, value in node.items():
        if key.startswith("_"):
            continue
        if isinstance(value, Mapping):
            kept[key] = _numbers(value)
        elif value is None or isinstance(value, bool | int | float) or _is_number_list(value):
            kept[key] = value
    return kept


def _is_number_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, bool | int | float) for item in value)


def _set_numbers(node: DictConfig, sizes: Mapping[str, Any], what: str) -> None:
    for key, value in sizes.items():
        if key.startswith("_") or key not in node:
            raise WeightsError(f"{what} sets {key}, which is no setting of this version")
        if isinstance(value, Mapping):
            _set_numbers(node[key], value, f"{what}.{key}")
        elif value is None or isinstance(value, bool | int | float) or _is_number_list(value):
            node[key] = value
        else:
            raise WeightsError(f"{what} sets {key} to {value!r}, which must be a number")
