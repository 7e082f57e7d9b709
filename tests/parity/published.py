"""Our networks at a fixture's sizes, with its weights: the one place that knows our constructors and converters."""

from collections.abc import Mapping
from typing import Any

from golden import Golden
from torch import Tensor

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
from aniportrait.models.audio2mesh import Audio2Mesh, PublishedHead
from aniportrait.models.audio_encoder import Wav2Vec2Encoder
from aniportrait.models.denoising_unet import DenoisingUNet
from aniportrait.models.pose_guider import PublishedPoseGuider
from aniportrait.models.published_audio2pose import PublishedAudio2Pose
from aniportrait.models.reference_net import ReferenceNet
from aniportrait.models.syncnet import SyncNet

_UNET = {
    "center_input_sample": False,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "downsample_padding": 1,
    "mid_block_scale_factor": 1,
    "act_fn": "silu",
    "norm_eps": 1e-5,
    "use_linear_projection": False,
    "use_inflated_groupnorm": True,
    "unet_use_cross_frame_attention": False,
    "unet_use_temporal_attention": False,
}
"""Options of the original's UNets that ours do not have, and what they amount to."""
_MOTION = {
    "motion_module_mid_block": True,
    "motion_module_decoder_only": False,
    "motion_module_type": "Vanilla",
}
_MOTION_MODULE = {
    "num_transformer_block": 1,
    "attention_block_types": ["Temporal_Self", "Temporal_Self"],
    "temporal_position_encoding": True,
    "temporal_attention_dim_div": 1,
}


def reference_net(golden: Golden) -> ReferenceNet:
    net = ReferenceNet(**_unet_sizes(golden.config["unet"])).eval()
    published = golden.published_weights(reference_net_to_published(net.state_dict()))
    net.load_state_dict(reference_net_from_published(published))
    return net


def denoising_unet(golden: Golden) -> DenoisingUNet:
    config = golden.config["unet"]
    net = DenoisingUNet(**_unet_sizes(config))
    if config.get("use_motion_module"):
        _refuse_others(config, _MOTION)
        motion = config["motion_module_kwargs"]
        _refuse_others(motion, _MOTION_MODULE)
        net = net.with_motion(
            motion["temporal_position_encoding_max_len"],
            motion["num_attention_heads"],
            motion_norm_num_groups=32,  # whatever norm_num_groups says
        )
    published = golden.published_weights(denoising_unet_to_published(net.state_dict()))
    net.load_state_dict(denoising_unet_from_published(published))
    return net.eval()


def pose_guider(golden: Golden, statistics: str, attend: bool) -> PublishedPoseGuider:
    """With `attend` False the published weights less `cross_attn*`."""
    width = golden.config["noise_latent_channels"]
    said = {"cross_attn_heads": "attention_heads", "cross_attn_dim_head": "attention_head_dim"}
    sizes = {ours: golden.config[theirs] for theirs, ours in said.items() if theirs in golden.config}
    guider = PublishedPoseGuider(
        (width, 2 * width, 4 * width, 4 * width), **sizes, statistics=statistics, attend=attend
    ).eval()
    own = guider.state_dict()
    published = golden.published_weights(own)
    counters = {key: value for key, value in own.items() if key.endswith("num_batches_tracked")}
    kept = {key: value for key, value in published.items() if attend or not key.startswith("cross_attn")}
    guider.load_state_dict(counters | kept)
    return guider


def audio2mesh(golden: Golden) -> Audio2Mesh:
    encoder, latent_dim = _audio_encoder(golden), golden.config["model"]["latent_dim"]
    model = Audio2Mesh(encoder, PublishedHead(encoder.width, latent_dim)).eval()
    published = golden.published_weights(_as_torch_names(audio2mesh_to_published(model.state_dict())))
    model.load_state_dict(audio2mesh_from_published(published))
    return model


def audio2pose(golden: Golden) -> PublishedAudio2Pose:
    model = PublishedAudio2Pose(_audio_encoder(golden), golden.config["model"]["latent_dim"]).eval()
    published = golden.published_weights(_as_torch_names(audio2pose_to_published(model.state_dict())))
    model.load_state_dict(audio2pose_from_published(published))
    return model


def syncnet(golden: Golden) -> SyncNet:
    network = SyncNet().eval()
    own = network.state_dict()
    counters = {key: value for key, value in own.items() if key.endswith("num_batches_tracked")}
    network.load_state_dict(counters | golden.published_weights(own))
    return network


def _audio_encoder(golden: Golden) -> Wav2Vec2Encoder:
    _refuse_others(golden.config["model"], {"only_last_fetures": True})
    return _EncoderOfNormalisedSound(config=golden.config["wav2vec2"])


class _EncoderOfNormalisedSound(Wav2Vec2Encoder):
    """Fixtures hold sound as the original's network takes it: normalised by whoever calls, or not at all."""

    def forward(self, audio: Tensor, frames: int) -> Tensor:
        return self.encode(audio, frames)


def _as_torch_names(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published files say weight_g and weight_v; modules that fixtures were drawn for, what torch says now."""
    norm = "conv.parametrizations.weight.original"
    return {
        key.replace("conv.weight_g", f"{norm}0").replace("conv.weight_v", f"{norm}1"): value
        for key, value in published.items()
    }


def _unet_sizes(config: Mapping[str, Any]) -> dict[str, Any]:
    _refuse_others(config, _UNET)
    levels = len(config["block_out_channels"])
    attends = [kind.startswith("CrossAttn") for kind in config["down_block_types"]]
    if attends != [True] * (levels - 1) + [False]:
        raise ValueError(
            f"down_block_types {config['down_block_types']} must attend at every level but the last"
        )
    wanted = ("block_out_channels", "layers_per_block", "cross_attention_dim", "attention_head_dim")
    return {key: config[key] for key in (*wanted, "in_channels", "norm_num_groups")}


def _refuse_others(config: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    for option, value in ours.items():
        if config.get(option, value) != value:
            raise ValueError(f"{option} ({config[option]}) must be {value}: our networks have no other")
