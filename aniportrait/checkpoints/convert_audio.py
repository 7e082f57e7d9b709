"""AniPortrait's published audio2mesh.pt and audio2pose.pt <-> our names and shapes: tables, no loading."""

from collections.abc import Mapping

import torch
from torch import Tensor

# part of a published key, the same part of ours
_ENCODER = (
    # torch's old weight norm, and its parametrization, which transformers builds
    (".conv.weight_g", ".conv.parametrizations.weight.original0"),
    (".conv.weight_v", ".conv.parametrizations.weight.original1"),
    ("audio_encoder.", "encoder.model."),
)
_MESH = (*_ENCODER, ("in_fn.", "head.input."), ("out_fn.", "head.output."))
_POSE = (
    *_ENCODER,
    ("in_fn.", "memory_input."),
    ("pose_map.", "pose_input."),
    ("pose_map_r.", "pose_output."),
    ("id_embed.", "identity."),
    ("transformer_decoder.", "decoder."),
    (".self_attn.in_proj_", ".query_key_value."),
    (".self_attn.out_proj.", ".attention_output."),
    (".multihead_attn.in_proj_", ".memory_value."),
    (".multihead_attn.out_proj.", ".memory_output."),
    (".linear1.", ".expand."),
    (".linear2.", ".contract."),
)
_COMPUTED = ("PPE.pe",)
"""Published buffers that our modules compute."""


def audio2mesh_from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keys of audio2mesh.pt -> keys of Audio2Mesh(Wav2Vec2Encoder, PublishedHead)."""
    return _to_ours(state, _MESH)


def audio2mesh_to_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keys of Audio2Mesh(Wav2Vec2Encoder, PublishedHead) -> keys of audio2mesh.pt."""
    return _to_theirs(state, _MESH)


def audio2pose_from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keys of audio2pose.pt -> keys of PublishedAudio2Pose(Wav2Vec2Encoder).

    Of the cross-attention's stacked query, key and value maps only the last is kept: its mask leaves one key,
    whose weight is 1 whatever the query.
    """
    ours = _to_ours(state, _POSE)
    return {key: _last_third(value) if ".memory_value." in key else value for key, value in ours.items()}


def audio2pose_to_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keys of PublishedAudio2Pose -> keys of audio2pose.pt, but for its computed buffer.

    The cross-attention's queries and keys, which cannot matter, become zero.
    """
    theirs = _to_theirs(state, _POSE)
    for key, value in theirs.items():
        if ".multihead_attn.in_proj_" in key:
            theirs[key] = torch.cat((torch.zeros_like(value), torch.zeros_like(value), value))
    return theirs


def _to_ours(state: Mapping[str, Tensor], table: tuple[tuple[str, str], ...]) -> dict[str, Tensor]:
    renamed = {}
    for key, value in state.items():
        if key in _COMPUTED:
            continue
        for theirs, ours in table:
            key = key.replace(theirs, ours)
        renamed[key] = value
    return renamed


def _to_theirs(state: Mapping[str, Tensor], table: tuple[tuple[str, str], ...]) -> dict[str, Tensor]:
    renamed = {}
    for key, value in state.items():
        for theirs, ours in reversed(table):
            key = key.replace(ours, theirs)
        renamed[key] = value
    return renamed


def _last_third(stacked: Tensor) -> Tensor:
    return stacked.chunk(3)[2]
