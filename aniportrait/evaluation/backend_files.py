"""Files that metrics cannot do without: named by whoever has them, or carried by a pip package."""

import hashlib
import importlib.metadata
from pathlib import Path

from aniportrait.evaluation.video_metric import MissingBackendError


def given_file(path: str | None, setting: str, source: str) -> Path:
    """The file at `path`; MissingBackendError says which setting names it and where it comes from."""
    if path is None:
        raise MissingBackendError(f"{setting} is not set: get {source} and set {setting}=PATH")
    file = Path(path).expanduser()
    if not file.is_file():
        raise MissingBackendError(f"{setting}={path} is no file: get {source} and set {setting}=PATH")
    return file


def packaged_file(package: str, name: str, sha256: str, advice: str) -> Path:
    """A file of an installed pip package, found without importing it.

    Args:
        package: as pip calls it.
        name: the end of the file's path.
        sha256: of its content, hexadecimal.
        advice: what to do where it is not there.
    """
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingBackendError(f"the pip package {package} is not installed: {advice}") from error
    for file in files:
        found = Path(str(file.locate()))
        if file.as_posix().endswith(name) and found.is_file():
            if hashlib.sha256(found.read_bytes()).hexdigest() == sha256:
                return found
            raise MissingBackendError(f"{found} does not have the sha256 {sha256[:8]}...: {advice}")
    raise MissingBackendError(f"the installed pip package {package} carries no {name}: {advice}")
