"""Published checkpoints from the Hugging Face hub: resumed where a download broke off, each sum checked."""

import hashlib
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse

from huggingface_hub import get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import HTTPError
from huggingface_hub.file_download import HfFileMetadata, http_get
from huggingface_hub.utils import build_hf_headers

log = logging.getLogger(__name__)


class DownloadError(OSError):
    """A file that could not be had, or is not what it should be."""


@dataclass(frozen=True)
class RemoteFile:
    """A file on the hub and its place below the folder of published checkpoints.

    Args:
        repo: owner/name on the hub.
        path: inside the repository.
        place: below our folder.
        sha256: where it is known from several independent places; else what the hub states has to do.
    """

    repo: str
    path: str
    place: str
    sha256: str | None = None


_OURS = "ZJYang/AniPortrait"
_SD = "stable-diffusion-v1-5/stable-diffusion-v1-5"
_VAE = "stabilityai/sd-vae-ft-mse"
_CLIP = "lambdalabs/sd-image-variations-diffusers"
_WAV2VEC2 = "facebook/wav2vec2-base-960h"

ANIMATING = (
    RemoteFile(_SD, "unet/config.json", "stable-diffusion-v1-5/unet/config.json"),
    RemoteFile(_WAV2VEC2, "config.json", "wav2vec2-base-960h/config.json"),
    RemoteFile(_VAE, "config.json", "sd-vae-ft-mse/config.json"),
    RemoteFile(
        _VAE,
        "diffusion_pytorch_model.safetensors",
        "sd-vae-ft-mse/diffusion_pytorch_model.safetensors",
        "a1d993488569e928462932c8c38a0760b874d166399b14414135bd9c42df5815",
    ),
    RemoteFile(_CLIP, "image_encoder/config.json", "image_encoder/config.json"),
    RemoteFile(
        _CLIP,
        "image_encoder/pytorch_model.bin",
        "image_encoder/pytorch_model.bin",
        "89d2aa29b5fdf64f3ad4f45fb4227ea98bc45156bbae673b85be1af7783dbabb",
    ),
    *(
        RemoteFile(_OURS, name, name)
        for name in (
            "audio2mesh.pt",
            "audio2pose.pt",
            "pose_guider.pth",
            "motion_module.pth",
            "reference_unet.pth",
            "denoising_unet.pth",
        )
    ),
)
"""What convert.py imports."""

TRAINING = (
    RemoteFile(
        _SD,
        "unet/diffusion_pytorch_model.safetensors",
        "stable-diffusion-v1-5/unet/diffusion_pytorch_model.safetensors",
        "19da7aaa4b880e59d56843f1fcb4dd9b599c28a1d9d9af7c1143057c8ffae9f1",
    ),
    RemoteFile(
        _WAV2VEC2,
        "model.safetensors",
        "wav2vec2-base-960h/model.safetensors",
        "8aa76ab2243c81747a1f832954586bc566090c83a0ac167df6f31f0fa917d74a",
    ),
    RemoteFile(
        "guoyww/animatediff",
        "mm_sd_v15_v2.ckpt",
        "mm_sd_v15_v2.ckpt",
        "69ed0f5fef82b110aca51bcab73b21104242bc65d6ab4b8b2a2a94d31cad1bf0",
    ),
)
"""What training starts from besides."""


def download_files(files: Sequence[RemoteFile], folder: Path, endpoint: str | None = None) -> None:
    """Bring every file to its place below `folder`; one that is there already is checked, not fetched again.

    Args: endpoint of the hub; None: HF_ENDPOINT, or huggingface.co.
    """
    stated = {file: _metadata(file, endpoint) for file in files}
    absent = [file for file in files if not (folder / file.place).is_file()]
    needed = sum((stated[file].size or 0) for file in absent) - sum(
        part.stat().st_size for file in absent if (part := _part(folder, file, stated[file])).is_file()
    )
    folder.mkdir(parents=True, exist_ok=True)
    if needed > shutil.disk_usage(folder).free:
        raise DownloadError(f"{folder} has too little room: {needed / 1e9:.1f} GB are to come")
    log.info("%d of %d files to fetch, %.1f GB", len(absent), len(files), needed / 1e9)
    for file in files:
        target = folder / file.place
        if not target.is_file():
            _fetch(file, stated[file], target, _part(folder, file, stated[file]), endpoint)
        elif (sum_ := file_sum(target, _expected(file, stated[file]))) != _expected(file, stated[file]):
            raise DownloadError(
                f"{target} has the sum {sum_}, which is not that of {file.repo}: delete it to fetch it"
            )
        log.info("%s: checked (%s)", target, "known sum" if file.sha256 else "sum that the hub states")


def file_sum(file: Path, like: str) -> str:
    """The sum of `file`, of the kind that `like` is: sha256 (64 digits), or git's sha1 of a blob (40 digits)."""
    digest = hashlib.sha256() if len(like) == 64 else hashlib.sha1(f"blob {file.stat().st_size}\0".encode())
    with file.open("rb") as stream:
        while block := stream.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def _metadata(file: RemoteFile, endpoint: str | None) -> HfFileMetadata:
    url = hf_hub_url(file.repo, file.path, endpoint=endpoint)
    try:
        stated = get_hf_file_metadata(url, endpoint=endpoint)
    except (HTTPError, OSError) as error:
        raise DownloadError(f"{url} is out of reach: {_reason(error)}") from error
    if stated.etag is None or len(stated.etag) not in (40, 64):
        raise DownloadError(f"{url} comes without a sum that could be checked (ETag {stated.etag})")
    if file.sha256 is not None and stated.etag != file.sha256:
        raise DownloadError(
            f"{url} has the sum {stated.etag}, and {file.sha256} is what it must have: it was replaced"
        )
    return stated


def _expected(file: RemoteFile, stated: HfFileMetadata) -> str:
    return file.sha256 or str(stated.etag)


def _part(folder: Path, file: RemoteFile, stated: HfFileMetadata) -> Path:
    """Named by the sum, so that the halves of two versions never meet."""
    target = folder / file.place
    return target.with_name(f"{target.name}.{_expected(file, stated)[:12]}.part")


def _fetch(file: RemoteFile, stated: HfFileMetadata, target: Path, part: Path, endpoint: str | None) -> None:
    part.parent.mkdir(parents=True, exist_ok=True)
    url = _metadata(file, endpoint).location  # asked for again: where a large file lies is signed for an hour
    hub = hf_hub_url(file.repo, file.path, endpoint=endpoint)
    own_host = urlparse(url).netloc == urlparse(hub).netloc  # a token is for the hub, not for where it stores
    if stated.size and part.is_file() and part.stat().st_size > stated.size:
        part.unlink()  # of nothing that could be gone on with
    try:
        with part.open("ab") as stream:
            http_get(
                url,
                stream,
                resume_size=stream.tell(),
                expected_size=stated.size,
                headers=build_hf_headers() if own_host else None,
                displayed_filename=file.place,
            )
    except (HTTPError, OSError) as error:
        raise DownloadError(
            f"{file.place} broke off: {_reason(error)}; run the same command again to go on"
        ) from error
    expected = _expected(file, stated)
    if (found := file_sum(part, expected)) != expected:
        part.unlink()
        raise DownloadError(
            f"{file.place} arrived damaged (sum {found}, not {expected}) and was removed: run it again"
        )
    os.replace(part, target)


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
