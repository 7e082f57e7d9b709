"""Weights on disk: a folder of safetensors beside a `model.json` that says which choices and sizes they belong to."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

FORMAT = 1
CARD = "model.json"
CHECKPOINT_CARD = "aniportrait_card"
"""Key under which a Lightning checkpoint carries the json text of its card."""


class WeightsError(ValueError):
    """Weights that are absent, damaged, or belong to another network."""


@dataclass(frozen=True)
class Weights:
    """Named state dicts and what is known about them.

    Args:
        source: where they came from, for messages.
        networks: name -> card of that network: {"choices": {group: option}, "sizes": {...}, "settings": {...}}.
        states: name -> state dict of that network.
    """

    source: Path
    networks: Mapping[str, Mapping[str, Any]]
    states: Mapping[str, Mapping[str, Tensor]]

    def __contains__(self, name: str) -> bool:
        return name in self.networks

    def card(self, name: str) -> Mapping[str, Any]:
        if name not in self.networks:
            known = ", ".join(sorted(self.networks)) or "nothing"
            raise WeightsError(f"{self.source} holds no {name} (it holds {known})")
        return self.networks[name]

    def load_into(self, name: str, module: nn.Module) -> None:
        """Copy the weights called `name` into `module`, strictly: every key that does not fit is named."""
        self.card(name)
        load_strictly(module, self.states[name], f"{name} from {self.source}")


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Load `state` into `module`; raise WeightsError naming every missing, unexpected or mis-shaped key."""
    own = module.state_dict()
    problems = [f"missing {key}" for key in own if key not in state]
    problems += [f"unexpected {key}" for key in state if key not in own]
    problems += [
        f"{key} is {tuple(state[key].shape)}, must be {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    if problems:
        shown = "; ".join(problems[:8]) + (f"; and {len(problems) - 8} more" if len(problems) > 8 else "")
        raise WeightsError(f"{what} does not fit: {shown}")
    module.load_state_dict(dict(state))


def save_weights(
    folder: Path, states: Mapping[str, Mapping[str, Tensor]], cards: Mapping[str, Mapping[str, Any]]
) -> None:
    """Write `<name>.safetensors` for each state, merge the cards into `model.json`; each file appears whole or not."""
    folder.mkdir(parents=True, exist_ok=True)
    networks = dict(read_card(folder)) if (folder / CARD).is_file() else {}
    for name, state in states.items():
        part = folder / f"{name}.safetensors.part"
        save_file({key: value.detach().cpu().contiguous() for key, value in state.items()}, part)
        os.replace(part, folder / f"{name}.safetensors")
        networks[name] = dict(cards[name])
    part = folder / f"{CARD}.part"
    part.write_text(json.dumps({"format": FORMAT, "networks": networks}, indent=1, sort_keys=True) + "\n")
    os.replace(part, folder / CARD)


def read_card(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    """The networks that `folder/model.json` lists, name -> card."""
    return _networks_of((folder / CARD).read_text(), folder / CARD)


def open_weights(path: str | Path) -> Weights:
    """Open what `weights=` names: a weights folder, a run (its `weights/` or last checkpoint), or a Lightning .ckpt."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"weights={path} does not exist: give a weights folder, a run's folder or a .ckpt that train.py wrote"
        )
    if path.is_file():
        return _open_checkpoint(path)
    for folder in (path, path / "weights"):
        if (folder / CARD).is_file():
            return _open_folder(folder)
    last = path / "checkpoints" / "last.ckpt"
    if last.is_file():
        return _open_checkpoint(last)
    raise WeightsError(f"weights={path} holds no {CARD}, no weights/{CARD} and no checkpoints/last.ckpt")


def _open_folder(folder: Path) -> Weights:
    networks = read_card(folder)
    states = {}
    for name in networks:
        file = folder / f"{name}.safetensors"
        if not file.is_file():
            raise WeightsError(f"{folder / CARD} lists {name}, but {file.name} is missing beside it")
        try:
            states[name] = load_file(file)
        except Exception as error:
            raise WeightsError(f"{file} cannot be read as safetensors: {error}") from error
    return Weights(folder, networks, states)


def _open_checkpoint(file: Path) -> Weights:
    try:
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(
            f"{file} cannot be loaded without unpickling arbitrary objects, which is refused: {reason}"
        ) from error
    if not isinstance(checkpoint, dict) or CHECKPOINT_CARD not in checkpoint:
        raise WeightsError(f"{file} is no checkpoint of this project: it carries no {CHECKPOINT_CARD}")
    networks = _networks_of(checkpoint[CHECKPOINT_CARD], file)
    return Weights(file, networks, _split_by_network(checkpoint["state_dict"], networks))


def _split_by_network(state: Mapping[str, Tensor], names: Mapping[str, Any]) -> dict[str, dict[str, Tensor]]:
    """Lightning keys `networks.<module>.<key>` -> name -> state, motion modules apart from the denoising UNet."""
    states: dict[str, dict[str, Tensor]] = {name: {} for name in names}
    for key, value in state.items():
        owner, _, rest = key.removeprefix("networks.").partition(".")
        if owner == "denoising_unet" and is_motion_key(rest):
            owner = "motion_module"
        if owner in states:
            states[owner][rest] = value
    return states


def is_motion_key(key: str) -> bool:
    """Whether a key of the denoising UNet belongs to its motion modules."""
    return "motion_modules." in key


def _networks_of(text: str, source: Path) -> Mapping[str, Mapping[str, Any]]:
    try:
        card = json.loads(text)
        version, networks = card["format"], card["networks"]
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{source} is no model card: {error}") from error
    if version != FORMAT:
        raise WeightsError(f"{source} has format {version}, this version reads {FORMAT}")
    return networks
