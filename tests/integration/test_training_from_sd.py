"""Training at the paper's layout begins with Stable Diffusion's UNet, and stage 2 with AnimateDiff's motion modules."""

import published_folder
import pytest
import torch
from entries import composed

from aniportrait.checkpoints.store import is_motion_key, open_weights, save_weights
from aniportrait.cli.networks import card_of, fit_to_weights, record_sizes, states_of
from aniportrait.cli.train import build_module

SIZES = [
    "sizes.unet.block_out_channels=[32,64,64,64]",
    *("sizes.unet.layers_per_block=1", "sizes.unet.attention_head_dim=4", "sizes.unet.norm_num_groups=16"),
    *("sizes.motion.motion_num_attention_heads=4", "sizes.motion.motion_norm_num_groups=16"),
    *("sizes.pose_guider.width=16", "image_embed_width=24", "trainer=cpu", "logger=csv"),
]


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """What the README has people put there, small; the UNet's and the motion modules' weights."""
    folder = published_folder.write_published_folder(tmp_path_factory.mktemp("pretrained") / "all")
    unet, motion = published_folder.sd_unet(), published_folder.motion_module()
    unet.save_pretrained(folder / "stable-diffusion-v1-5" / "unet")
    torch.save(motion, folder / "mm_sd_v15_v2.ckpt")
    return folder, unet.state_dict(), motion


@pytest.fixture(scope="module")
def stage1(pretrained, tmp_path_factory):
    """The networks that stage 1 begins with, and these in a weights folder."""
    out = tmp_path_factory.mktemp("stage1")
    settings = ("experiment=stage1_reference", *SIZES, f"paths.pretrained={pretrained[0]}")
    with composed("train", *settings) as config:
        networks = build_module(config, None).networks
        record_sizes(config, networks)
        states = states_of(networks, config)
        save_weights(out, states, {name: card_of(config, name) for name in states})
    return networks, out


def test_stage_1_begins_with_stable_diffusions_unet(stage1, pretrained):
    _, unet, _ = pretrained
    for network in (stage1[0].denoising_unet, stage1[0].reference_net):
        own = network.unet.state_dict()
        common = own.keys() & unet.keys()
        assert len(common) > 0.95 * len(unet)
        assert all(torch.equal(own[key], unet[key]) for key in common)


def test_stage_2_begins_with_stage_1_and_animatediffs_motion_modules(stage1, pretrained):
    folder, unet, motion = pretrained
    settings = ("experiment=stage2_motion", *SIZES, f"paths.pretrained={folder}", f"weights={stage1[1]}")
    weights = open_weights(stage1[1])
    with composed("train", *settings) as config:
        fit_to_weights(config, weights, weights.networks)
        own = build_module(config, weights).networks.denoising_unet.unet.state_dict()
    spatial = {key for key in own.keys() & unet.keys() if not is_motion_key(key)}
    assert all(torch.equal(own[key], unet[key]) for key in spatial)
    names = {key: key.replace("temporal_transformer.", "") for key in motion}
    kept = [key for key in names if "proj_" in key and names[key] in own]
    assert len(kept) == 4 * sum("proj_in.weight" in key for key in motion)
    assert all(torch.equal(own[names[key]], motion[key]) for key in kept)
