"""Tensors of one file: safetensors, or a pickle that holds tensors and nothing to execute."""

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")
"""What `read_tensors` reads, the safest first."""


class WeightsError(ValueError):
    """Weights that are absent, damaged, or belong to another network."""


def read_tensors(file: Path) -> Mapping[str, Tensor]:
    """Key -> tensor as stored; the pages of a large file are read when they are needed.

    A dict of tensors under "state_dict", as trainers write it, is that dict.
    """
    if file.suffix == ".safetensors":
        return read_safetensors(file)
    content = read_pickle(file)
    state = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{file} is no file of named tensors")
    return state


def read_safetensors(file: Path) -> dict[str, Tensor]:
    """Key -> tensor of a safetensors file."""
    try:
        return load_file(file)
    except Exception as error:
        raise WeightsError(f"{file} cannot be read as safetensors: {error}") from error


def read_pickle(file: Path) -> Any:
    """What torch.save wrote, if it is tensors and plain values; anything that would be executed is refused."""
    mapped = zipfile.is_zipfile(file)  # the format before torch 1.6 cannot be mapped
    try:
        return torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:
        if isinstance(error, pickle.UnpicklingError) and (found := re.search(r"GLOBAL (\S+)", str(error))):
            raise WeightsError(
                f"{file} cannot be loaded without unpickling arbitrary objects, which is refused: it holds {found[1]}"
            ) from error
        reason = "torch.save did not write it" if isinstance(error, pickle.UnpicklingError) else str(error)
        first = reason.splitlines()[0] if reason else type(error).__name__
        raise WeightsError(f"{file} is damaged or incomplete: {first}") from error
