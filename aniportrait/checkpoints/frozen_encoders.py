"""Autoencoder and image encoder: published folders -> numbers and tensors of ours, and back."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aniportrait.checkpoints.store import check_keys, load_strictly
from aniportrait.checkpoints.tensor_files import WeightsError
from aniportrait.models.autoencoder import SDVae
from aniportrait.models.image_encoder import ClipImageEncoder


@dataclass(frozen=True)
class PublishedEncoder:
    """One row: a folder in the manner of diffusers and transformers, and the frozen network of ours that wraps it.

    Args:
        folder: its usual name.
        wrapper: our class; built from a path or from sizes.
        inner: attribute of the wrapper that holds the library's model.
        fixed: settings that are no numbers, as the wrapper builds them.
    """

    folder: str
    wrapper: type[SDVae] | type[ClipImageEncoder]
    inner: str
    fixed: Mapping[str, Any]


ENCODERS: Mapping[str, PublishedEncoder] = {
    "autoencoder": PublishedEncoder("sd-vae-ft-mse", SDVae, "vae", {"act_fn": "silu", "shift_factor": None}),
    "image_encoder": PublishedEncoder(
        "image_encoder", ClipImageEncoder, "clip", {"hidden_act": "quick_gelu"}
    ),
}
"""Our network -> its published folder."""


def read_encoder(network: str, folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Arguments of the wrapper and tensors; WeightsError if they are not of the layout that the wrapper builds."""
    row = ENCODERS[network]
    wrapper = row.wrapper(folder)
    config = getattr(wrapper, row.inner).config
    config = config.to_dict() if hasattr(config, "to_dict") else dict(config)
    for key, value in row.fixed.items():
        if config.get(key) != value:
            raise WeightsError(f"{folder} has {key}={config.get(key)}, and {network} is built with {value}")
    numbers = {"sizes": wrapper.sizes}
    with torch.device("meta"):
        rebuilt = row.wrapper(sizes=wrapper.sizes)
    state = wrapper.state_dict()
    check_keys(state, rebuilt.state_dict(), f"{network} from {folder}")
    return numbers, state


def write_encoder(
    folder: Path, network: str, state: Mapping[str, Tensor], numbers: Mapping[str, Any]
) -> Path:
    """Write a frozen encoder of ours as the folder that its library reads."""
    row = ENCODERS[network]
    wrapper = row.wrapper(**numbers)
    load_strictly(wrapper, state, network)
    getattr(wrapper, row.inner).save_pretrained(folder / row.folder)
    return folder / row.folder
