"""FID's published weights file as its converter from TensorFlow's graph writes it: 94 convolutions, their norms, fc.

Written down from the public converters (torch-fidelity's utils/util_convert_inception_weights.py names the keys) and
the layers of TensorFlow's graph, without our network.
"""

import torch
from torch import Tensor

BYTES = 95_628_359
"""Of the published file."""

STEM = {
    "Conv2d_1a_3x3": (32, 3, 3, 3),
    "Conv2d_2a_3x3": (32, 32, 3, 3),
    "Conv2d_2b_3x3": (64, 32, 3, 3),
    "Conv2d_3b_1x1": (80, 64, 1, 1),
    "Conv2d_4a_3x3": (192, 80, 3, 3),
}


def at_35(inputs: int, pooled: int) -> dict[str, tuple[int, ...]]:
    return {
        "branch1x1": (64, inputs, 1, 1),
        "branch5x5_1": (48, inputs, 1, 1),
        "branch5x5_2": (64, 48, 5, 5),
        "branch3x3dbl_1": (64, inputs, 1, 1),
        "branch3x3dbl_2": (96, 64, 3, 3),
        "branch3x3dbl_3": (96, 96, 3, 3),
        "branch_pool": (pooled, inputs, 1, 1),
    }


def at_17(inner: int) -> dict[str, tuple[int, ...]]:
    return {
        "branch1x1": (192, 768, 1, 1),
        "branch7x7_1": (inner, 768, 1, 1),
        "branch7x7_2": (inner, inner, 1, 7),
        "branch7x7_3": (192, inner, 7, 1),
        "branch7x7dbl_1": (inner, 768, 1, 1),
        "branch7x7dbl_2": (inner, inner, 7, 1),
        "branch7x7dbl_3": (inner, inner, 1, 7),
        "branch7x7dbl_4": (inner, inner, 7, 1),
        "branch7x7dbl_5": (192, inner, 1, 7),
        "branch_pool": (192, 768, 1, 1),
    }


def at_8(inputs: int) -> dict[str, tuple[int, ...]]:
    return {
        "branch1x1": (320, inputs, 1, 1),
        "branch3x3_1": (384, inputs, 1, 1),
        "branch3x3_2a": (384, 384, 1, 3),
        "branch3x3_2b": (384, 384, 3, 1),
        "branch3x3dbl_1": (448, inputs, 1, 1),
        "branch3x3dbl_2": (384, 448, 3, 3),
        "branch3x3dbl_3a": (384, 384, 1, 3),
        "branch3x3dbl_3b": (384, 384, 3, 1),
        "branch_pool": (192, inputs, 1, 1),
    }


BLOCKS = {
    "Mixed_5b": at_35(192, 32),
    "Mixed_5c": at_35(256, 64),
    "Mixed_5d": at_35(288, 64),
    "Mixed_6a": {
        "branch3x3": (384, 288, 3, 3),
        "branch3x3dbl_1": (64, 288, 1, 1),
        "branch3x3dbl_2": (96, 64, 3, 3),
        "branch3x3dbl_3": (96, 96, 3, 3),
    },
    "Mixed_6b": at_17(128),
    "Mixed_6c": at_17(160),
    "Mixed_6d": at_17(160),
    "Mixed_6e": at_17(192),
    "Mixed_7a": {
        "branch3x3_1": (192, 768, 1, 1),
        "branch3x3_2": (320, 192, 3, 3),
        "branch7x7x3_1": (192, 768, 1, 1),
        "branch7x7x3_2": (192, 192, 1, 7),
        "branch7x7x3_3": (192, 192, 7, 1),
        "branch7x7x3_4": (192, 192, 3, 3),
    },
    "Mixed_7b": at_8(1280),
    "Mixed_7c": at_8(2048),
}


def published_shapes() -> dict[str, tuple[int, ...]]:
    """Key -> shape of the file."""
    kernels = dict(STEM)
    for block, branches in BLOCKS.items():
        kernels |= {f"{block}.{branch}": shape for branch, shape in branches.items()}
    shapes: dict[str, tuple[int, ...]] = {"fc.weight": (1008, 2048), "fc.bias": (1008,)}
    for name, shape in kernels.items():
        shapes[f"{name}.conv.weight"] = shape
        shapes |= {
            f"{name}.bn.{part}": shape[:1] for part in ("weight", "bias", "running_mean", "running_var")
        }
    return shapes


def random_weights(seed: int = 0) -> dict[str, Tensor]:
    """Weights of that file's keys and shapes that let differences between pictures through."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, shape in published_shapes().items():
        scale = (2 / torch.Size(shape[1:]).numel()) ** 0.5 if len(shape) > 1 else 0.1
        values = torch.randn(shape, generator=generator) * scale
        state[key] = values.abs() + 0.7 if key.endswith(("bn.weight", "running_var")) else values
    return state
