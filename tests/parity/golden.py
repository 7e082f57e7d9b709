"""Golden fixtures: folders with inputs and outputs of the original, and what its networks were built from."""

import json
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from drawn_weights import drawn_weights
from safetensors.torch import load_file
from torch import Tensor

_DATA = ("io.safetensors", "arrays.npz", "cases.json")


class Golden:
    """One fixture. Remembers which outputs were asked for, so that none is passed over in silence.

    Args:
        folder: holds config.json.
        root: the folder of all fixtures.
        weights_file: holds the network's weights, if it exists.
    """

    def __init__(self, folder: Path, root: Path, weights_file: Path | None = None):
        self.folder, self.root = folder, root
        self.weights_file = weights_file or folder / "weights.safetensors"
        self._compared: set[str] = set()

    @property
    def name(self) -> str:
        return self.folder.name if self.folder == self.root else self.folder.relative_to(self.root).as_posix()

    @cached_property
    def config(self) -> dict[str, Any]:
        return json.loads((self.folder / "config.json").read_text())

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        if (self.folder / "io.safetensors").is_file():
            return load_file(self.folder / "io.safetensors")
        if not (self.folder / "arrays.npz").is_file():
            return {}
        with np.load(self.folder / "arrays.npz", allow_pickle=False) as arrays:
            return {name: torch.from_numpy(np.asarray(arrays[name])) for name in arrays.files}

    def cases(self, field: str) -> list[str]:
        """Names of the cases that have this input."""
        names = [name for name in self.tensors if name.startswith("in.") and name.endswith(f".{field}")]
        return [name.removeprefix("in.").removesuffix(f".{field}") for name in names]

    def has_input(self, name: str) -> bool:
        return f"in.{name}" in self.tensors

    def input(self, name: str) -> Tensor:
        return self._tensor(f"in.{name}")

    def output(self, name: str) -> Tensor:
        self._compared.add(name)
        return self._tensor(f"out.{name}")

    def outputs(self, start: str = "") -> list[str]:
        """Names of outputs, less their common start."""
        start = f"out.{start}"
        return [name.removeprefix(start) for name in self.tensors if name.startswith(start)]

    def not_compared(self) -> list[str]:
        """Outputs that no check has asked for."""
        return [name for name in self.outputs() if name not in self._compared]

    def published_weights(self, module: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The original's state dict: stored, or drawn by seed for the keys listed, else for a module's own."""
        if self.weights_file.is_file():
            return {key: value.float() for key, value in load_file(self.weights_file).items()}
        if "weights_seed" not in self.config:
            raise ValueError("neither weights.safetensors nor a weights_seed in config.json says the weights")
        listed = self.folder / "weights_spec.json"  # key -> shape
        shapes = (
            json.loads(listed.read_text()) if listed.is_file() else {k: v.shape for k, v in module.items()}
        )
        return drawn_weights(shapes, self.config["weights_seed"])

    def beside(self, path: str) -> Path | None:
        """A file of test data, beside the folder of fixtures or in the folder that SHARED names."""
        shared = os.environ.get("SHARED")
        folders = (self.root.resolve().parent, *((Path(shared),) if shared else ()))
        return next((folder / path for folder in folders if (folder / path).is_file()), None)

    def _tensor(self, name: str) -> Tensor:
        if name not in self.tensors:
            raise ValueError(f"the fixture lacks {name}")
        return self.tensors[name]


def find_goldens(root: Path) -> list[Golden]:
    """Every fixture at any depth, by name; a folder that only lacks its config.json is one as well."""
    folders = {file.parent for name in ("config.json", *_DATA) for file in root.rglob(name)}
    return [Golden(folder, root) for folder in sorted(folders)]


def network_of(golden: Golden, role: str, kind: str) -> Golden:
    """The fixture that holds a network another fixture was made with.

    Args:
        role: its name in `weights` of config.json, where a path leads to a weights file or its folder.
        kind: where config.json says no path, the one fixture of this kind is meant.
    """
    given = golden.config.get("weights", {}).get(role)
    if given is not None:
        path = (golden.folder / given).resolve()
        folder, file = (path, None) if path.is_dir() else (path.parent, path)
        return Golden(folder, golden.root, file)
    found = [other for other in find_goldens(golden.root) if _says_its_a(kind, other)]
    if len(found) != 1:
        raise ValueError(f"config.json names no {role} weights, and {len(found)} fixtures are a {kind}")
    return found[0]


def _says_its_a(kind: str, golden: Golden) -> bool:
    try:
        return golden.config.get("kind") == kind
    except (OSError, ValueError):  # a row of its own says so
        return False
