"""A fused optimizer: the plain one's steps, whatever layout its state comes in, and gradients that can be clipped."""

import pytest
import torch
from entries import TINY, composed
from hydra.utils import instantiate
from lightning.pytorch.plugins import MixedPrecision
from torch import nn

from aniportrait.cli.train import build_module
from aniportrait.training.optimisation import optimisers

CHANNELS_LAST = torch.channels_last
PLAIN = "optimizer.fused=false"


def network(layout=CHANNELS_LAST):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.Conv2d(16, 8, 3, padding=1)).to(
        memory_format=layout
    )


def optimizer_of(net, *overrides):
    with composed("train", "experiment=stage1_reference", *TINY, "learning_rate=0.01", *overrides) as config:
        return optimisers(net, instantiate(config.optimizer), lambda optimizer: None)["optimizer"]


def steps(net, optimizer, count, seed):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        optimizer.zero_grad()
        net(torch.randn(2, 8, 8, 8, generator=generator)).square().mean().backward()
        optimizer.step()


def close(net, other):
    pairs = zip(net.parameters(), other.parameters(), strict=True)
    return all(torch.allclose(one, two, rtol=0, atol=1e-6) for one, two in pairs)


def test_the_default_is_fused_and_takes_the_steps_of_the_plain_one():
    nets = network(), network()
    optimizers = optimizer_of(nets[0]), optimizer_of(nets[1], PLAIN)
    assert [optimizer.defaults["fused"] for optimizer in optimizers] == [True, False]
    for net, optimizer in zip(nets, optimizers, strict=True):
        steps(net, optimizer, 5, seed=1)
    assert close(*nets)
    assert not close(nets[0], network())


@pytest.mark.parametrize(
    ("first", "then"), [(torch.contiguous_format, CHANNELS_LAST), (CHANNELS_LAST, torch.contiguous_format)]
)
def test_state_of_another_layout_goes_on_as_its_own(first, then):
    """Torch's fused step would mix up the numbers of convolutions in silence."""
    source, whole = network(first), network()
    optimizer = optimizer_of(source)
    steps(source, optimizer, 3, seed=1)
    rest = network(then)
    rest.load_state_dict(source.state_dict())
    resumed = optimizer_of(rest)
    resumed.load_state_dict(optimizer.state_dict())
    steps(rest, resumed, 3, seed=2)
    plain = optimizer_of(whole, PLAIN)
    steps(whole, plain, 3, seed=1)
    steps(whole, plain, 3, seed=2)
    assert close(rest, whole)


def test_lightning_clips_the_gradients_of_a_fused_optimizer_in_bfloat16():
    net = network()
    optimizer = optimizer_of(net)
    net(torch.randn(2, 8, 8, 8)).square().mean().backward()
    MixedPrecision("bf16-mixed", "cpu").clip_gradients(optimizer, 1e-3)
    norm = torch.stack([weight.grad.norm() for weight in net.parameters()]).norm()
    assert norm == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("experiment", ["stage1_reference", "stage2_motion"])
def test_convolutions_of_a_training_are_channels_last(experiment):
    with composed("train", f"experiment={experiment}", *TINY) as config:
        networks = build_module(config, None).networks
    kernels = [m.weight for m in networks.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert len(kernels) > 10
    assert all(weight.is_contiguous(memory_format=CHANNELS_LAST) for weight in kernels)
    assert not all(weight.is_contiguous() for weight in kernels)
