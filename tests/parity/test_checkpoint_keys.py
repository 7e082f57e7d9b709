"""At full size, without weights: every key and shape of the published files has its place with us, and none is over."""

import json

import pytest
import torch

from aniportrait.checkpoints.published import FILES, Found, checked_sizes, to_ours
from aniportrait.checkpoints.published_sizes import Unsaid
from aniportrait.models.denoising_unet import DenoisingUNet
from aniportrait.models.pose_guider import PublishedPoseGuider
from aniportrait.models.reference_net import ReferenceNet

pytestmark = pytest.mark.shared

SD15 = {
    "in_channels": 4,
    "block_out_channels": [320, 640, 1280, 1280],
    "layers_per_block": 2,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
    "norm_num_groups": 32,
}
BASE_960H = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "conv_dim": [512] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "conv_bias": False,
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 16,
    "layer_norm_eps": 1e-5,
}
SIZES = {
    "reference_net": SD15,
    "denoising_unet": SD15,
    "motion_module": {
        "motion_max_seq_length": 32,
        "motion_num_attention_heads": 8,
        "motion_norm_num_groups": 32,
    },
    "pose_guider": {
        "block_out_channels": [320, 640, 1280, 1280],
        "attention_heads": 16,
        "attention_head_dim": 88,
    },
    "audio2mesh": {"encoder": {"config": BASE_960H}, "head": {"in_width": 768, "latent_dim": 512}},
    "audio2pose": {
        "encoder": {"config": BASE_960H},
        "latent_dim": 512,
        "identities": 100,
        "layers": 8,
        "heads": 8,
    },
}


def listed(shared, name):
    shapes = json.loads((shared / "reference" / "checkpoint_keys" / f"{name}.json").read_text())
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


@pytest.mark.parametrize("network", FILES)
def test_a_published_file_maps_onto_our_network_and_back_with_nothing_left_over(shared, network):
    row = FILES[network]
    state = listed(shared, row.names[0])
    found = Found(row.names[0], state)
    sizes = checked_sizes(network, found, Unsaid())
    assert sizes == SIZES[network]
    with torch.device("meta"):
        own = {k: v for k, v in row.build(state, sizes).state_dict().items() if row.owns(k)}
    ours = to_ours(network, found)
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in own.items()}
    back = row.to_published(ours)
    assert {k: v.shape for k, v in back.items()} == {
        k: v.shape for k, v in row.without_ignored(state).items()
    }


@pytest.mark.parametrize("network", FILES)
def test_one_key_more_or_less_is_found_at_full_size(shared, network):
    row = FILES[network]
    state = listed(shared, row.names[0])
    lost = next(key for key in reversed(state) if key.endswith(".bias"))
    without = {key: value for key, value in state.items() if key != lost}
    for changed, said in ((without, f"missing {lost}"), (state | {"extra": state[lost]}, "unexpected extra")):
        with pytest.raises(ValueError, match=said):
            checked_sizes(network, Found(row.names[0], changed), Unsaid())


def test_the_whole_stage_2_module_is_the_two_files_together(shared):
    state = listed(shared, "denoising_unet.pth.stage2_module")
    with torch.device("meta"):
        own = DenoisingUNet().with_motion().state_dict()
    ours = FILES["motion_module"].to_ours(state)
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in own.items()}


def test_networks_built_without_arguments_have_the_published_sizes(shared):
    with torch.device("meta"):
        for module, file in (
            (ReferenceNet(), "reference_unet.pth"),
            (PublishedPoseGuider(), "pose_guider.pth"),
        ):
            shapes = sorted(tuple(value.shape) for value in module.state_dict().values())
            assert shapes == sorted(tuple(value.shape) for value in listed(shared, file).values())
