"""Weights that others published: a folder here or a name on the hub, or one clear sentence."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError


class MissingWeightsError(FileNotFoundError):
    """Published weights that are neither in the named folder nor to be had from the hub."""


def from_folder_or_hub(
    model: Any,
    path: str | Path,
    setting: str,
    source: str,
    *,
    may_lack: Sequence[str] = (),
    may_add: Sequence[str] = (),
    **kwargs: Any,
) -> Any:
    """`model.from_pretrained(path)`; a failure says where `path` came from and where to get the files.

    The libraries fill a tensor that a file lacks with random numbers and go on; here it is an error that names it.

    Args:
        model: a diffusers or transformers class.
        path: a folder; or, of a str alone, a hub name such as "owner/name".
        setting: configuration key that holds the path.
        source: where the weights come from.
        may_lack, may_add: beginnings of keys that the files need not hold, or may hold beyond the model's own.
        kwargs: for from_pretrained.
    """
    advice = f"get {source} and set {setting} to its folder, or to its hub name where there is a hub"
    if isinstance(path, Path):
        advice = f"get {source} (python download.py does); paths.pretrained=DIR says where such folders lie"
    local = Path(path).expanduser()
    looks_like_a_path = (
        isinstance(path, Path) or local.is_absolute() or path.startswith((".", "~")) or path.count("/") != 1
    )
    if not local.is_dir() and looks_like_a_path:
        raise MissingWeightsError(f"{setting}={path} is no folder: {advice}")
    try:
        name = str(local) if local.is_dir() else str(path)
        loaded, report = model.from_pretrained(name, output_loading_info=True, **kwargs)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        place = (
            "holds no weights that fit"
            if local.is_dir()
            else "is neither a folder nor within reach on the hub"
        )
        raise MissingWeightsError(f"{setting}={path} {place}: {advice}") from error
    problems = [f"missing {key}" for key in report["missing_keys"] if not key.startswith(tuple(may_lack))]
    problems += [
        f"unexpected {key}" for key in report["unexpected_keys"] if not key.startswith(tuple(may_add))
    ]
    problems += [f"another shape {item}" for item in report["mismatched_keys"]]
    if problems:
        more = f" and {len(problems) - 8} more" if len(problems) > 8 else ""
        shown = "; ".join(sorted(problems)[:8])
        raise MissingWeightsError(f"{setting}={path} holds no weights that fit ({shown}{more}): {advice}")
    return loaded


def check_sizes(sizes: Collection[str], names: Collection[str], setting: str) -> None:
    """A ValueError unless exactly the sizes with these names are given by a setting."""
    for name in sorted(set(sizes) ^ set(names)):
        raise ValueError(f"{setting} must have exactly {', '.join(names)}: {name} is too much or missing")


def plain(value: Any) -> Any:
    """A number of a library's config, or a list of them, as json and YAML write it."""
    return list(value) if isinstance(value, tuple | list) else value
