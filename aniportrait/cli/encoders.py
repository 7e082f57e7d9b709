"""Which encoders made latents: a name for a frozen network that changes with its weights."""

import hashlib

import torch
from torch import nn


def encoder_name(encoder: nn.Module) -> str:
    """Class and a hash of weights, buffers and numbers: "SDVae 1b2c3d4e5f60"."""
    digest = hashlib.sha256()
    numbers = {
        name: value
        for name, value in vars(encoder).items()
        if not name.startswith("_") and isinstance(value, int | float) and not isinstance(value, bool)
    }
    digest.update(repr(sorted(numbers.items())).encode())
    for name, value in sorted(encoder.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)}".encode())
        digest.update(value.detach().to("cpu", torch.float32).contiguous().numpy())
    return f"{type(encoder).__name__} {digest.hexdigest()[:12]}"
