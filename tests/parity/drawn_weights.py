"""The rule by which golden fixtures draw their weights: a seed and a key decide a tensor, nothing is stored."""

import math
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

COMPUTED = (".pe", "position_ids", "num_batches_tracked")
"""Ends of the keys of buffers that modules compute or count: never drawn."""


def drawn_weights(shapes: Mapping[str, Sequence[int]], seed: int) -> dict[str, Tensor]:
    """Key -> tensor on the float16 grid, as float32, for every key that is drawn."""
    return {
        key: drawn_tensor(key, shape, seed) for key, shape in shapes.items() if not key.endswith(COMPUTED)
    }


def drawn_tensor(key: str, shape: Sequence[int], seed: int) -> Tensor:
    """One weight: uniform noise of unit variance, scaled and moved by what the key says it is."""
    noise = _unit_noise(key, math.prod(shape), seed).reshape(tuple(shape))
    centre, spread = _place(key.rpartition(".")[2], shape)
    if key.endswith(("running_var", "weight_g", "original0")):  # positive by nature
        noise = np.abs(noise)
    return torch.from_numpy(np.asarray(centre + spread * noise, dtype=np.float16)).float()


def _place(name: str, shape: Sequence[int]) -> tuple[float, float]:
    """Mean and standard deviation of a weight."""
    if name in ("running_var", "weight_g", "original0"):
        return 1.0, 0.3
    if name == "running_mean":
        return 0.0, 0.1
    if name == "scale":
        return 1.5, 0.1
    if name.endswith("_bias") or name == "bias":
        return 0.0, 0.05
    if len(shape) == 1:
        return (1.0, 0.1) if name == "weight" else (0.0, 0.5)
    return 0.0, 1.0 / math.sqrt(math.prod(shape[1:]))


def _unit_noise(key: str, count: int, seed: int) -> np.ndarray:
    """`count` numbers in [-sqrt(3), sqrt(3)): the top 53 bits of Philox's words, keyed by CRC-32 and seed."""
    words = np.random.Philox(key=[zlib.crc32(key.encode()), seed]).random_raw(count)
    return (2.0 * ((words >> np.uint64(11)) / 2.0**53) - 1.0) * np.sqrt(3.0)
