"""Sizes of published networks, read off the shapes of their tensors."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from aniportrait.checkpoints.tensor_files import WeightsError

State = Mapping[str, Tensor]

POSITIONS = "pos_encoder.pe"
"""End of the keys of a motion module's positional encodings."""


@dataclass(frozen=True)
class Unsaid:
    """Numbers that shape nothing: head counts, norm groups, strides. Defaults: the published networks'.

    Args:
        unet_heads, norm_num_groups: of both UNets (Stable Diffusion 1.5's unet/config.json).
        motion_heads: of the motion modules.
        pose_guider_heads: of the PoseGuider's transformers.
        audio2pose_heads: of the pose decoder.
        audio_encoder_heads, conv_stride, layer_norm_eps: of wav2vec2 (wav2vec2-base-960h/config.json).
    """

    unet_heads: int = 8
    norm_num_groups: int = 32
    motion_heads: int = 8
    pose_guider_heads: int = 16
    audio2pose_heads: int = 8
    audio_encoder_heads: int = 12
    conv_stride: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    layer_norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            whole = [] if name == "layer_norm_eps" else value if name == "conv_stride" else [value]
            if not isinstance(whole, list | tuple) or any(type(n) is not int or n < 1 for n in whole):
                raise WeightsError(f"{name} ({value}) must be of whole numbers of at least 1")


def unet_sizes(state: State, unsaid: Unsaid) -> dict[str, Any]:
    """Arguments of DenoisingUNet and ReferenceNet."""
    return {
        "in_channels": _shape(state, "conv_in.weight")[1],
        "block_out_channels": _level_widths(state, "resnets.0.norm2.weight"),
        "layers_per_block": _count(state, r"down_blocks\.0\.resnets\.(\d+)\."),
        "cross_attention_dim": _shape(
            state, "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"
        )[1],
        "attention_head_dim": unsaid.unet_heads,
        "norm_num_groups": unsaid.norm_num_groups,
    }


def motion_sizes(state: State, unsaid: Unsaid) -> dict[str, Any]:
    """Arguments of DenoisingUNet.with_motion. Without stored positions: 32 frames, as AnimateDiff v2."""
    longest = {value.shape[1] for key, value in state.items() if key.endswith(POSITIONS)} or {32}
    if len(longest) > 1:
        raise WeightsError(f"its {POSITIONS} are of different lengths: {sorted(longest)}")
    return {
        "motion_max_seq_length": longest.pop(),
        "motion_num_attention_heads": unsaid.motion_heads,
        "motion_norm_num_groups": 32,  # in the code of AnimateDiff, whatever the UNet has
    }


def motion_widths(state: State) -> dict[str, Any]:
    """Arguments of the smallest DenoisingUNet whose motion modules are those of `state`."""
    return {
        "block_out_channels": _level_widths(state, "motion_modules.0.temporal_transformer.norm.weight"),
        "layers_per_block": _count(state, r"down_blocks\.0\.motion_modules\.(\d+)\."),
        "attention_head_dim": 1,
        "norm_num_groups": 1,
    }


def pose_guider_sizes(state: State, unsaid: Unsaid) -> dict[str, Any]:
    """Arguments of PublishedPoseGuider."""
    levels = _count(state, r"conv_layers_(\d+)\.")
    last = {level: 0 if level == levels else 3 for level in range(1, levels + 1)}
    inner = _shape(state, "cross_attn1.proj_in.weight")[0]
    heads = unsaid.pose_guider_heads
    if inner % heads:
        raise WeightsError(f"its transformers are {inner} wide, which {heads} heads do not divide")
    return {
        "block_out_channels": [
            _shape(state, f"conv_layers_{level}.{index}.weight")[0] for level, index in last.items()
        ],
        "attention_heads": heads,
        "attention_head_dim": inner // heads,
    }


def audio2mesh_sizes(state: State, unsaid: Unsaid) -> dict[str, Any]:
    """Numbers of an Audio2Mesh's encoder and PublishedHead."""
    latent_dim, in_width = _shape(state, "in_fn.weight")
    return {
        "encoder": {"config": wav2vec2_sizes(state, unsaid)},
        "head": {"in_width": in_width, "latent_dim": latent_dim},
    }


def audio2pose_sizes(state: State, unsaid: Unsaid) -> dict[str, Any]:
    """Numbers of a PublishedAudio2Pose and its encoder."""
    identities, latent_dim = _shape(state, "id_embed.weight")
    return {
        "encoder": {"config": wav2vec2_sizes(state, unsaid)},
        "latent_dim": latent_dim,
        "identities": identities,
        "layers": _count(state, r"transformer_decoder\.layers\.(\d+)\."),
        "heads": unsaid.audio2pose_heads,
    }


def wav2vec2_sizes(state: State, unsaid: Unsaid) -> dict[str, Any]:
    """Numbers of a Wav2Vec2Config whose weights lie under `audio_encoder.`."""
    encoder = "audio_encoder.encoder."
    hidden, per_group, kernel = _shape(state, f"{encoder}pos_conv_embed.conv.weight_v")
    convolutions = [
        _shape(state, f"audio_encoder.feature_extractor.conv_layers.{i}.conv.weight")
        for i in range(_count(state, r"audio_encoder\.feature_extractor\.conv_layers\.(\d+)\."))
    ]
    if len(unsaid.conv_stride) != len(convolutions):
        raise WeightsError(
            f"its sound goes through {len(convolutions)} convolutions, and {len(unsaid.conv_stride)} strides are known"
        )
    return {
        "hidden_size": hidden,
        "num_hidden_layers": _count(state, r"audio_encoder\.encoder\.layers\.(\d+)\."),
        "num_attention_heads": unsaid.audio_encoder_heads,
        "intermediate_size": _shape(state, f"{encoder}layers.0.feed_forward.intermediate_dense.weight")[0],
        "conv_dim": [shape[0] for shape in convolutions],
        "conv_kernel": [shape[2] for shape in convolutions],
        "conv_stride": list(unsaid.conv_stride),
        "conv_bias": "audio_encoder.feature_extractor.conv_layers.0.conv.bias" in state,
        "num_conv_pos_embeddings": kernel,
        "num_conv_pos_embedding_groups": hidden // per_group,
        "layer_norm_eps": unsaid.layer_norm_eps,
    }


def _shape(state: State, key: str) -> tuple[int, ...]:
    if key not in state:
        raise WeightsError(f"it has no {key}")
    return tuple(state[key].shape)


def _level_widths(state: State, rest: str) -> list[int]:
    levels = range(_count(state, r"down_blocks\.(\d+)\."))
    return [_shape(state, f"down_blocks.{level}.{rest}")[0] for level in levels]


def _count(state: State, pattern: str) -> int:
    """How many different numbers stand where the pattern's group is."""
    found = {match[1] for key in state if (match := re.match(pattern, key))}
    if not found:
        raise WeightsError(f"it has no key like {pattern.replace(chr(92), '').replace('(d+)', 'N')}")
    return len(found)
