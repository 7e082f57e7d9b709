"""The config.json files beside published checkpoints: what the tensors' shapes do not tell."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aniportrait.checkpoints.published_sizes import Unsaid
from aniportrait.checkpoints.tensor_files import WeightsError

UNET = Path("stable-diffusion-v1-5/unet/config.json")
AUDIO_ENCODER = Path("wav2vec2-base-960h/config.json")

LATENT_FACTOR = 8
"""Pixels per latent pixel of Stable Diffusion's autoencoder."""

IMAGE_SIZE = 512
"""What the published networks were trained at, pixels."""

# a key of config.json, the same number in Unsaid
_UNET = {"attention_head_dim": "unet_heads", "norm_num_groups": "norm_num_groups"}
_AUDIO_ENCODER = {
    "num_attention_heads": "audio_encoder_heads",
    "conv_stride": "conv_stride",
    "layer_norm_eps": "layer_norm_eps",
}


def read_unsaid(folder: Path, given: Mapping[str, Any]) -> tuple[Unsaid, int]:
    """What `given` says, else the config.json files, else the published numbers; and the image size in pixels."""
    unet, audio_encoder = _json(folder / UNET), _json(folder / AUDIO_ENCODER)
    if audio_encoder.get("do_stable_layer_norm"):
        raise WeightsError(
            f"{folder / AUDIO_ENCODER} has do_stable_layer_norm: only wav2vec2's base layout is known"
        )
    numbers = {ours: unet[key] for key, ours in _UNET.items() if key in unet}
    numbers |= {ours: audio_encoder[key] for key, ours in _AUDIO_ENCODER.items() if key in audio_encoder}
    return Unsaid(**(numbers | dict(given))), unet.get(
        "sample_size", IMAGE_SIZE // LATENT_FACTOR
    ) * LATENT_FACTOR


def write_configs(folder: Path, cards: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the numbers that `read_unsaid` reads. The weights of those folders are not ours to write."""
    if "denoising_unet" in cards:
        card = cards["denoising_unet"]
        _write(
            folder / UNET,
            {**card["sizes"]} | {"sample_size": card["settings"]["image_size"] // LATENT_FACTOR},
        )
    for name in ("audio2mesh", "audio2pose"):
        if name in cards:
            _write(folder / AUDIO_ENCODER, cards[name]["sizes"]["encoder"]["config"])
            break


def _json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text())
    except ValueError as error:
        raise WeightsError(f"{file} is no json: {error}") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{file} is no json object")
    return content


def _write(file: Path, content: Mapping[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(dict(content), indent=2, sort_keys=True) + "\n")
