"""The files that AniPortrait, AnimateAnyone and AnimateDiff publish: found, checked, translated, written.

A foreign checkpoint is a row of FILES. Nothing is guessed: a tensor that does not fit is named, and the few that may be
there without having a place with us stand in `ignored`, with the reason.
"""

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aniportrait.checkpoints.convert import (
    denoising_unet_from_published,
    denoising_unet_to_published,
    reference_net_from_published,
    reference_net_to_published,
)
from aniportrait.checkpoints.convert_audio import (
    audio2mesh_from_published,
    audio2mesh_to_published,
    audio2pose_from_published,
    audio2pose_to_published,
)
from aniportrait.checkpoints.published_sizes import (
    POSITIONS,
    State,
    Unsaid,
    audio2mesh_sizes,
    audio2pose_sizes,
    motion_sizes,
    motion_widths,
    pose_guider_sizes,
    unet_sizes,
)
from aniportrait.checkpoints.store import check_keys, is_motion_key
from aniportrait.checkpoints.tensor_files import SUFFIXES, WeightsError, read_tensors
from aniportrait.models.audio2mesh import Audio2Mesh, PublishedHead
from aniportrait.models.audio_encoder import Wav2Vec2Encoder
from aniportrait.models.denoising_unet import DenoisingUNet
from aniportrait.models.pose_guider import PublishedPoseGuider
from aniportrait.models.published_audio2pose import PublishedAudio2Pose, positions
from aniportrait.models.reference_net import ReferenceNet

POSE_POSITIONS = ("PPE.pe", 600)
"""Key and length of the positional encoding that audio2pose.pt holds."""

MOORE_POSE_GUIDER = {"conv_in", "blocks", "conv_out"}
"""First parts of all keys of the PoseGuider of Moore-AnimateAnyone (its src/models/pose_guider.py)."""

_SPELLINGS = (
    (".parametrizations.weight.original0", ".weight_g"),
    (".parametrizations.weight.original1", ".weight_v"),
)
"""Weight norm as torch spells it since 2.1, and as the published files do."""


@dataclass(frozen=True)
class PublishedFile:
    """One row: a published file and the network of ours that it is.

    Args:
        names: of the file, the usual one first.
        sizes: tensors -> the numbers that a card states of the network.
        build: tensors, numbers -> a module whose state dict contains the network's.
        to_ours, to_published: translate keys.
        ignored: beginning or end of keys that the file may hold -> why we do without.
        owns: which keys of what `build` gives are the network's.
    """

    names: tuple[str, ...]
    sizes: Callable[[State, Unsaid], dict[str, Any]]
    build: Callable[[State, Mapping[str, Any]], nn.Module]
    to_ours: Callable[[State], dict[str, Tensor]]
    to_published: Callable[[State], dict[str, Tensor]]
    ignored: Mapping[str, str] = field(default_factory=dict)
    owns: Callable[[str], bool] = lambda key: True

    def without_ignored(self, state: State) -> dict[str, Tensor]:
        ends = tuple(self.ignored)
        return {k: v for k, v in state.items() if not (k.startswith(ends) or k.endswith(ends))}


def _audio2mesh(state: State, sizes: Mapping[str, Any]) -> nn.Module:
    return Audio2Mesh(Wav2Vec2Encoder(config=sizes["encoder"]["config"]), PublishedHead(**sizes["head"]))


def _audio2pose(state: State, sizes: Mapping[str, Any]) -> nn.Module:
    own = {key: value for key, value in sizes.items() if key != "encoder"}
    return PublishedAudio2Pose(Wav2Vec2Encoder(config=sizes["encoder"]["config"]), **own)


FILES: Mapping[str, PublishedFile] = {
    "audio2mesh": PublishedFile(
        ("audio2mesh.pt",),
        audio2mesh_sizes,
        _audio2mesh,
        audio2mesh_from_published,
        audio2mesh_to_published,
    ),
    "audio2pose": PublishedFile(
        ("audio2pose.pt",),
        audio2pose_sizes,
        _audio2pose,
        audio2pose_from_published,
        audio2pose_to_published,
        {"PPE.pe": "sines and cosines, which we compute"},
    ),
    "reference_net": PublishedFile(
        ("reference_unet.pth",),
        unet_sizes,
        lambda state, sizes: ReferenceNet(**sizes),
        reference_net_from_published,
        reference_net_to_published,
        {
            "conv_norm_out.": "the head of Stable Diffusion's UNet: a reference net's output is never read",
            "conv_out.": "likewise",
        },
    ),
    "denoising_unet": PublishedFile(
        ("denoising_unet.pth",),
        unet_sizes,
        lambda state, sizes: DenoisingUNet(**sizes),
        denoising_unet_from_published,
        denoising_unet_to_published,
    ),
    "motion_module": PublishedFile(
        ("motion_module.pth", "mm_sd_v15_v2.ckpt"),
        motion_sizes,
        lambda state, sizes: DenoisingUNet(**motion_widths(state)).with_motion(**sizes),
        denoising_unet_from_published,
        denoising_unet_to_published,
        {POSITIONS: "sines and cosines, which we compute"},
        is_motion_key,
    ),
    "pose_guider": PublishedFile(
        ("pose_guider.pth",),
        pose_guider_sizes,
        lambda state, sizes: PublishedPoseGuider(**sizes),
        dict,
        dict,
    ),
}
"""Our network -> its published file."""


@dataclass(frozen=True)
class Found:
    """A published network as its file holds it.

    Args:
        file: where it lies.
        state: its tensors under the published names, as stored.
    """

    file: Path
    state: State


def find_published(folder: Path, networks: Collection[str] = tuple(FILES)) -> dict[str, Found]:
    """Network -> its file in `folder`, of those that are there; a .safetensors of the same name serves as well.

    Motion modules inside denoising_unet.pth count more than motion_module.pth, as upstream loads them last.
    """
    found = {}
    for network in FILES:
        file = _file_of(folder, FILES[network].names)
        wanted = network in networks or (network == "denoising_unet" and "motion_module" in networks)
        if file is not None and wanted:
            found[network] = Found(file, _plain(read_tensors(file)))
    if "denoising_unet" in found:
        file, state = found["denoising_unet"].file, found["denoising_unet"].state
        motion = {key: value for key, value in state.items() if is_motion_key(key)}
        if motion:
            found["motion_module"] = Found(file, motion)
            found["denoising_unet"] = Found(file, {k: v for k, v in state.items() if k not in motion})
    return {network: found[network] for network in FILES if network in found and network in networks}


def checked_sizes(network: str, found: Found, unsaid: Unsaid) -> dict[str, Any]:
    """The numbers of a published network; WeightsError naming every tensor that does not fit them."""
    row = FILES[network]
    if network == "pose_guider" and {key.split(".")[0] for key in found.state} == MOORE_POSE_GUIDER:
        raise WeightsError(
            f"{found.file} is the PoseGuider of Moore-AnimateAnyone (conv_in, blocks, conv_out), another network than "
            "AniPortrait's, and cannot be used: import the others with only=[reference_net,denoising_unet,"
            "motion_module]"
        )
    try:
        sizes = row.sizes(found.state, unsaid)
        with torch.device("meta"):
            module = row.build(found.state, sizes)
    except ValueError as error:
        raise WeightsError(f"{network} from {found.file} does not fit: {error}") from error
    own = {key: value for key, value in module.state_dict().items() if row.owns(key)}
    check_keys(row.without_ignored(found.state), row.to_published(own), f"{network} from {found.file}")
    return sizes


def to_ours(network: str, found: Found) -> dict[str, Tensor]:
    """A published network's tensors under our names, in the precision in which they are stored."""
    row = FILES[network]
    return row.to_ours(row.without_ignored(found.state))


def own_positions(found: Found) -> list[str]:
    """Keys of positional encodings that are not the sines and cosines we compute in their place."""
    stored = {k: v for k, v in found.state.items() if k.endswith((POSITIONS, POSE_POSITIONS[0]))}
    return [
        key
        for key, value in stored.items()
        if value.ndim != 3
        or not torch.allclose(value.float(), positions(*value.shape[1:])[None].expand_as(value), atol=2e-3)
    ]


def write_published(
    folder: Path, network: str, state: Mapping[str, Tensor], sizes: Mapping[str, Any]
) -> Path:
    """Write a network of ours as its published file, computed buffers included; the file appears whole or not."""
    row = FILES[network]
    theirs = row.to_published(state)
    if network == "motion_module":
        theirs |= _motion_positions(theirs, sizes["motion_max_seq_length"])
    if network == "audio2pose":
        key, frames = POSE_POSITIONS
        theirs[key] = positions(frames, sizes["latent_dim"])[None]
    file = folder / row.names[0]
    part = file.with_name(f"{file.name}.part")
    # clone: a view would take all that lies behind it into the file
    torch.save({key: value.detach().cpu().clone() for key, value in theirs.items()}, part)
    os.replace(part, file)
    return file


def _file_of(folder: Path, names: tuple[str, ...]) -> Path | None:
    for name in names:
        own = (folder / name).suffix
        for suffix in (own, *(other for other in SUFFIXES if other != own)):
            file = (folder / name).with_suffix(suffix)
            if file.is_file():
                return file
    return None


def _plain(state: State) -> dict[str, Tensor]:
    """Without the prefix of DataParallel, weight norm in the old spelling."""
    plain = {}
    for key, value in state.items():
        key = key.removeprefix("module.")
        for ours, theirs in _SPELLINGS:
            key = key.replace(ours, theirs)
        plain[key] = value
    return plain


def _motion_positions(theirs: State, frames: int) -> dict[str, Tensor]:
    end = "to_q.weight"
    return {
        f"{key.removesuffix(end)}{POSITIONS}": positions(frames, value.shape[1])[None]
        for key, value in theirs.items()
        if key.endswith(f".{end}")
    }
