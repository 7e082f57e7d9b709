"""Layers that compute in oneDNN are torch's, forwards, backwards and in files."""

import pickle
from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from aniportrait.models.attention_over_time import AttentionOverTime
from aniportrait.models.motion_module import MotionModule
from aniportrait.models.onednn_linear import SMALL, use_onednn
from aniportrait.training.operation_count import OperationCount


@pytest.fixture(autouse=True)
def avx512(monkeypatch):
    """A processor that goes to oneDNN: what it computes there it computes anywhere."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def gradients(layer: nn.Module, input: torch.Tensor, towards: torch.Tensor) -> list[torch.Tensor]:
    """Of a weighted sum of what it computes: itself, by the input, by the weights."""
    input = input.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    computed = layer(input)
    return [computed, *torch.autograd.grad(computed, [input, *layer.parameters()], towards)]


def operators(work) -> set[str]:
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        work()
    return {event.key for event in seen.key_averages()}


def assert_same(layer: nn.Module, input: torch.Tensor) -> None:
    other = deepcopy(layer)
    use_onednn(other)
    towards = torch.randn(layer(input).shape)
    for mine, theirs in zip(gradients(other, input, towards), gradients(layer, input, towards), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)
    assert gradients(other, input, towards)[2].is_contiguous(), "as fused optimizers want it"
    assert any("mkldnn::_linear_pointwise" in name for name in operators(lambda: other(input)))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("inputs", "outputs"), [(32, 256), (256, 32), (128, 128)])
def test_a_linear_layer_and_its_gradients_are_torchs(inputs, outputs, bias):
    torch.manual_seed(0)
    assert_same(nn.Linear(inputs, outputs, bias), torch.randn(3, 171, inputs))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_pointwise_convolution_and_its_gradients_are_torchs(layout, one_thread):
    torch.manual_seed(0)
    layer = nn.Conv2d(64, 96, 1).to(memory_format=torch.channels_last)
    assert_same(layer, torch.randn(2, 64, 20, 20).to(memory_format=layout))


def test_what_is_not_wanted_is_not_computed():
    layer = nn.Linear(128, 128).requires_grad_(False)
    use_onednn(layer)
    input = torch.randn(500, 128, requires_grad=True)
    forwards = layer(input)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        forwards.sum().backward()
    calls = {event.key: event.count for event in seen.key_averages()}
    assert calls["mkldnn::_linear_pointwise"] == 1
    assert layer.weight.grad is None
    assert layer.bias.grad is None


def test_small_products_autocast_and_other_numbers_stay_with_torch():
    layer = nn.Linear(16, 16)
    large = nn.Linear(256, 256)
    use_onednn(layer)
    use_onednn(large)
    assert 9 * 16 * 16 < SMALL <= 99 * 256 * 256
    tokens = torch.randn(99, 256)

    def under_autocast():
        with torch.autocast("cpu", torch.bfloat16):
            assert large(tokens).dtype == torch.bfloat16

    double = deepcopy(large).double()
    for work in (lambda: layer(torch.randn(9, 16)), under_autocast, lambda: double(tokens.double())):
        assert not any("_linear_pointwise" in name for name in operators(work))


def test_layers_stay_as_they_are_where_onednn_takes_longer(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    network = nn.Sequential(nn.Linear(256, 256), nn.Conv2d(256, 256, 1))
    use_onednn(network)
    assert [type(layer) for layer in network] == [nn.Linear, nn.Conv2d]


def test_weights_keep_their_names_and_layers_can_be_copied_and_pickled():
    network = nn.Sequential(nn.Linear(256, 256), nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 3))
    names, input = list(network.state_dict()), torch.randn(50, 256)
    use_onednn(network)
    assert list(network.state_dict()) == names
    for other in (deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(other[0](input), network[0](input))


def test_operations_of_products_in_onednn_are_counted():
    counts = []
    for change in (lambda layer: None, use_onednn):
        layer, input = nn.Linear(256, 128), torch.randn(2, 50, 256, requires_grad=True)
        change(layer)
        with OperationCount() as count:
            layer(input).sum().backward()
        counts.append(count.total)
    assert counts == [3 * 2 * 100 * 256 * 128] * 2


def test_attention_over_time_is_diffusers_own():
    torch.manual_seed(0)
    module = MotionModule(64, heads=8, max_seq_length=24, norm_num_groups=8)
    for attn in (module.transformer_blocks[0].attn1, module.transformer_blocks[0].attn2):
        assert isinstance(attn.processor, AttentionOverTime)
        tokens = torch.randn(9, 16, 64)
        ours = attn(tokens)
        attn.set_processor(type(attn.processor).__base__())
        torch.testing.assert_close(ours, attn(tokens), rtol=1e-5, atol=1e-5)
