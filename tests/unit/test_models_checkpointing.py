"""Gradient checkpointing changes no gradient, and no layer of large pictures keeps its activations."""

import copy
import pickle
from collections import Counter

import pytest
import torch
from tiny_unets import SIZES, awake, inputs

from aniportrait.models.denoising_unet import DenoisingUNet
from aniportrait.models.reference_net import ReferenceNet


def networks(motion):
    torch.manual_seed(0)
    net, den = ReferenceNet(**SIZES), DenoisingUNet(**SIZES)
    return net, awake(den.with_motion(16, 4)) if motion else den


def backward(net, den):
    given, portrait = inputs(), torch.randn(2, 12, 8, 8, generator=torch.Generator().manual_seed(4))
    for module in (net, den):
        module.zero_grad()
    den(**given, reference_features=net(portrait, given["image_embeds"])).square().mean().backward()
    return {
        f"{i} {name}": p.grad.clone()
        for i, module in enumerate((net, den))
        for name, p in module.named_parameters()
        if p.grad is not None
    }


@pytest.mark.parametrize("motion", [False, True])
def test_gradients_stay_the_same_in_both_networks(motion):
    net, den = networks(motion)
    plain = backward(net, den)
    net.enable_gradient_checkpointing()
    den.enable_gradient_checkpointing()
    again = backward(net, den)
    assert again.keys() == plain.keys()
    for name, before in plain.items():
        assert torch.allclose(before, again[name], atol=1e-5 * float(before.abs().max())), name


@pytest.mark.parametrize("motion", [False, True])
def test_every_layer_of_the_two_largest_levels_is_computed_twice_and_no_other(motion):
    net, den = networks(motion)
    calls = Counter()
    for i, network in enumerate((net, den)):
        for name, module in network.named_modules():
            if (
                ("_blocks." in name or "mid_block." in name)
                and not list(module.children())
                and list(module.parameters())
            ):
                module.register_forward_pre_hook(lambda m, args, key=f"{i} {name}": calls.update([key]))
    backward(net, den)
    plain = calls.copy()
    calls.clear()
    net.enable_gradient_checkpointing()
    den.enable_gradient_checkpointing()
    backward(net, den)
    last = "0 unet.up_blocks.2.attentions.1."  # of ReferenceNet; nothing after its norm1 has a gradient
    small = ("mid_block.", "down_blocks.2.", "up_blocks.0.")  # of three levels
    for key, count in plain.items():
        if not key.startswith(last):
            assert calls[key] == (count if any(place in key for place in small) else 2 * count), key


def test_nothing_is_computed_twice_before_the_first_module_that_gets_gradients():
    """Stage 2's first transformer, frozen and before every motion module."""
    _, den = networks(motion=True)
    den.requires_grad_(False)
    for parameter in den.motion_parameters():
        parameter.requires_grad_(True)
    den.enable_gradient_checkpointing()
    calls = Counter()
    for name, module in den.named_modules():
        if name.endswith("attn1.to_q"):
            module.register_forward_pre_hook(lambda module, args, key=name: calls.update([key]))
    den(**inputs()).square().mean().backward()
    large = [name for name in calls if ".down_blocks.2" not in name and ".up_blocks.0" not in name]
    once = [name for name in large if calls[name] == 1 and "mid_block" not in name]
    assert once == ["unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"]
    assert len(large) > 10


def test_a_checkpointed_network_can_be_copied_pickled_and_loaded():
    _, den = networks(motion=True)
    state = den.state_dict()
    den.enable_gradient_checkpointing()
    den.enable_gradient_checkpointing()
    for other in (copy.deepcopy(den), pickle.loads(pickle.dumps(den))):
        assert other.state_dict().keys() == state.keys()
        with torch.no_grad():
            assert torch.equal(other(**inputs()), den(**inputs()))
