"""Weights that others published: a folder here or a name on the hub, or one clear sentence."""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError


class MissingWeightsError(FileNotFoundError):
    """Published weights that are neither in the named folder nor to be had from the hub."""


def from_folder_or_hub(model: Any, path: str | Path, setting: str, source: str, **kwargs: Any) -> Any:
    """`model.from_pretrained(path)`; a failure says where `path` came from and where to get the files.

    Args:
        model: a diffusers or transformers class.
        path: a folder, or a hub name such as "owner/name".
        setting: configuration key that holds the path.
        source: where the weights come from.
        kwargs: for from_pretrained.
    """
    advice = f"get {source} and set {setting} to its folder, or to its hub name where there is a hub"
    local = Path(path).expanduser()
    looks_like_a_path = local.is_absolute() or str(path).startswith((".", "~")) or str(path).count("/") != 1
    if not local.is_dir() and looks_like_a_path:
        raise MissingWeightsError(f"{setting}={path} is no folder: {advice}")
    try:
        return model.from_pretrained(str(local) if local.is_dir() else str(path), **kwargs)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        place = (
            "holds no weights that fit"
            if local.is_dir()
            else "is neither a folder nor within reach on the hub"
        )
        raise MissingWeightsError(f"{setting}={path} {place}: {advice}") from error
