"""bf16 stays bf16, and channels_last changes no number and kills no process."""

import subprocess
import sys
from collections.abc import Mapping, Sequence

import pytest
import torch
from tiny_unets import SIZES, awake, close, denoiser, inputs, reference

from aniportrait.models.denoising_unet import DenoisingUNet
from aniportrait.models.pose_guider import PublishedPoseGuider, ReferenceAwarePoseGuider
from aniportrait.models.reference_net import ReferenceNet

WIDER = ("time_proj",)
"""Modules whose output is wider than bf16 on purpose: sines of the time, rounded only once they are computed."""


def tensors_in(value):
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            yield from tensors_in(item)


def casts(network, *args, **kwargs):
    """Names of the modules that give anything but bf16, when all that goes in is bf16."""
    wrong = []

    def look(module, args, output, name):
        if any(t.is_floating_point() and t.dtype != torch.bfloat16 for t in tensors_in(output)):
            wrong.append(name)

    hooks = [
        module.register_forward_hook(lambda m, a, o, name=name: look(m, a, o, name))
        for name, module in network.named_modules()
    ]
    with torch.no_grad():
        network(*args, **kwargs)
    for hook in hooks:
        hook.remove()
    return [name for name in wrong if not name.endswith(WIDER)]


def in_bf16(value):
    if isinstance(value, dict):
        return {key: in_bf16(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(in_bf16(item) for item in value)
    return value.bfloat16() if value.is_floating_point() else value


@pytest.mark.parametrize("motion", [False, True])
def test_no_layer_of_a_bf16_denoiser_casts(motion):
    torch.manual_seed(0)
    net = DenoisingUNet(**SIZES)
    net = (awake(net.with_motion(16, 4)) if motion else net).bfloat16()
    assert casts(net, **in_bf16(inputs()), reference_features=in_bf16(reference())) == []


def test_no_layer_of_a_bf16_reference_net_casts():
    net = ReferenceNet(**SIZES).bfloat16()
    assert casts(net, torch.randn(2, 12, 8, 8).bfloat16(), in_bf16(inputs())["image_embeds"]) == []


@pytest.mark.parametrize(
    "guider",
    [
        lambda: ReferenceAwarePoseGuider((16, 24), width=8, attention_heads=2),
        lambda: PublishedPoseGuider((32, 32), attention_heads=2, attention_head_dim=8),
        lambda: PublishedPoseGuider((32, 32), 2, 8, statistics="running"),
    ],
    ids=["reference_aware", "published", "published_running"],
)
def test_no_layer_of_a_bf16_pose_guider_casts(guider):
    pose, portrait = torch.rand(1, 2, 3, 32, 32).bfloat16(), torch.rand(1, 3, 32, 32).bfloat16()
    assert casts(guider().bfloat16().eval(), pose, portrait) == []


def test_bf16_autocast_stays_close():
    given = inputs() | {"reference_features": reference()}
    with torch.no_grad():
        plain = denoiser()(**given)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = denoiser()(**given)
    assert float((rounded - plain).std() / plain.std()) < 0.05


def gradients(network, **given):
    network.zero_grad()
    network(**given).square().mean().backward()
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("motion", [False, True])
def test_channels_last_changes_no_number_and_no_gradient(motion):
    torch.manual_seed(0)
    net = DenoisingUNet(**SIZES)
    net = awake(net.with_motion(16, 4)) if motion else net
    features = {name: tokens.detach() for name, tokens in reference().items()}
    given = inputs() | {"reference_features": features}
    plain, slopes = net(**given).detach(), gradients(net, **given)
    net.to(memory_format=torch.channels_last)
    assert close(net(**given).detach(), plain, 1e-5)
    for name, slope in gradients(net, **given).items():
        assert close(slope, slopes[name], 1e-4), name


STAGE_2 = """
import torch
from aniportrait.models.denoising_unet import DenoisingUNet
net = DenoisingUNet(4, (16, 24), 1, 8, 4, 8).with_motion(16, 4)
net.requires_grad_(False)
for weight in net.motion_parameters():
    weight.requires_grad_(True)
net.to(memory_format=torch.channels_last)
net(torch.randn(2, 3, 4, 8, 8), torch.tensor([3, 5])).square().mean().backward()
assert all(weight.grad is not None for weight in net.motion_parameters())
"""


def test_motion_modules_train_in_channels_last_under_frozen_layers():
    # torch 2.13 dies of a segmentation fault in the norm of the first one, unless it is given contiguous frames
    finished = subprocess.run([sys.executable, "-c", STAGE_2], capture_output=True, text=True, timeout=120)
    assert finished.returncode == 0, finished.stderr
