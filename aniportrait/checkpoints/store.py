"""Weights on disk: a folder of safetensors beside a `model.json` that says which choices and sizes they belong to."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from aniportrait.checkpoints.tensor_files import WeightsError, read_pickle, read_safetensors
from aniportrait.data.whole_file import whole_file

FORMAT = 1
CARD = "model.json"
CHECKPOINT_CARD = "aniportrait_card"
"""Key under which a Lightning checkpoint carries the json text of its card."""


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
    check_keys(state, module.state_dict(), what)
    module.load_state_dict(dict(state))


def check_keys(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str) -> None:
    """Raise WeightsError naming what `state` lacks, has too much, or has in another shape than `expected`."""
    problems = [f"missing {key}" for key in expected if key not in state]
    problems += [f"unexpected {key}" for key in state if key not in expected]
    problems += [
        f"{key} is {tuple(state[key].shape)}, must be {tuple(expected[key].shape)}"
        for key in expected
        if key in state and state[key].shape != expected[key].shape
    ]
    if problems:
        shown = "; ".join(problems[:8]) + (f"; and {len(problems) - 8} more" if len(problems) > 8 else "")
        raise WeightsError(f"{what} does not fit: {shown}")


def save_weights(
    folder: Path, states: Mapping[str, Mapping[str, Tensor]], cards: Mapping[str, Mapping[str, Any]]
) -> None:
    """Write `<name>.safetensors` for each state and merge the cards into `model.json`.

    What is there is replaced once all is written: a full disk leaves no mixture of old networks and new ones.
    """
    folder.mkdir(parents=True, exist_ok=True)
    networks = dict(read_card(folder)) if (folder / CARD).is_file() else {}
    networks |= {name: dict(cards[name]) for name in states}
    with ExitStack() as written:  # put in place in the end, the last one first
        card = written.enter_context(whole_file(folder / CARD))
        card.write_text(json.dumps({"format": FORMAT, "networks": networks}, indent=1, sort_keys=True) + "\n")
        for name, state in states.items():
            part = written.enter_context(whole_file(folder / f"{name}.safetensors"))
            save_file({key: value.detach().cpu().contiguous() for key, value in state.items()}, part)


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
    for name in networks:
        if not (folder / f"{name}.safetensors").is_file():
            raise WeightsError(f"{folder / CARD} lists {name}, but {name}.safetensors is missing beside it")
    return Weights(folder, networks, _StatesOnDisk(folder, tuple(networks)))


class _StatesOnDisk(Mapping[str, Mapping[str, Tensor]]):
    """Name -> state dict, read when asked for, so that ten networks do not fill the memory."""

    def __init__(self, folder: Path, names: tuple[str, ...]):
        self._folder = folder
        self._names = names

    def __getitem__(self, name: str) -> Mapping[str, Tensor]:
        if name not in self._names:
            raise KeyError(name)
        return read_safetensors(self._folder / f"{name}.safetensors")

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _open_checkpoint(file: Path) -> Weights:
    checkpoint = read_pickle(file)
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
    if not isinstance(networks, Mapping) or not all(isinstance(card, Mapping) for card in networks.values()):
        raise WeightsError(f"{source} is no model card: networks must hold a card for each name")
    return networks
