"""Networks made ready for sampling say what they said before."""

from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from diffusers.models.activations import GEGLU
from diffusers.models.attention_processor import Attention
from tiny_unets import SIZES, awake, close, denoiser, inputs, reference_net
from torch import nn

from aniportrait.models.autoencoder import SDVae
from aniportrait.models.cpu_attention import NARROW, widen_heads
from aniportrait.models.fused_attention import FusedSelfAttention
from aniportrait.models.image_encoder import TinyImageEncoder
from aniportrait.models.inference import for_inference
from aniportrait.models.latent_space import AbsoluteLatents
from aniportrait.models.packed_layers import PackedGeglu, PackedLinear, pack_layers
from aniportrait.models.portrait_networks import PortraitNetworks
from aniportrait.models.pose_guider import PublishedPoseGuider, ReferenceAwarePoseGuider
from aniportrait.models.processor import onednn_is_faster

needs_onednn = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="torch was built without oneDNN"
)


@pytest.fixture
def avx512(monkeypatch):
    """A processor on which float32 goes to oneDNN: what it computes there it computes anywhere."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")


VAE = {
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "latent_channels": 12,
    "norm_num_groups": 4,
    "scaling_factor": 0.2,
}
WIDTHS = SIZES["block_out_channels"]


def networks(guider, motion):
    torch.manual_seed(0)
    made = awake(denoiser(motion)) if motion else denoiser()
    return PortraitNetworks(
        reference_net(), guider, made, SDVae(sizes=VAE), TinyImageEncoder(8), AbsoluteLatents()
    ).eval()


def said(made):
    """What the networks make of a portrait and two frames, guided and not, as sampling asks them."""
    draw = torch.Generator().manual_seed(0)
    given, picture = inputs(b=1, f=2), torch.rand(1, 3, 64, 64, generator=draw) * 2 - 1
    portrait = made.portrait(picture, reference_latents=given["noisy_latents"][:, 0])
    answers, keys_and_values = made.denoising_unet.projected(*portrait[1::-1])
    pose = made.pose_guider(picture[:, None].repeat(1, 2, 1, 1, 1), picture.flip(-1))
    latents, time = given["noisy_latents"], given["timesteps"]
    conditional = made.denoising_unet(latents, time, answers, pose, keys_and_values)
    unconditional = made.denoising_unet(latents, time, None, pose, None)
    return conditional, unconditional, made.decode(latents)


@torch.no_grad()
@pytest.mark.parametrize("motion", [False, True])
@pytest.mark.parametrize(
    "guider",
    [partial(PublishedPoseGuider, attend=False), ReferenceAwarePoseGuider],
    ids=["published", "ours"],
)
def test_networks_for_inference_say_the_same_up_to_rounding(guider, motion, avx512):
    made = networks(guider(WIDTHS), motion)
    before = said(made)
    for_inference(made)
    for now, then in zip(said(made), before, strict=True):
        assert close(now, then)


@torch.no_grad()
def test_a_packed_pose_guider_with_transformers_says_the_same(avx512):
    torch.manual_seed(0)
    guider = PublishedPoseGuider((32, 64), 2, 8).eval()
    nn.init.normal_(guider.final_proj.weight)
    picture = torch.rand(1, 2, 3, 32, 32) * 2 - 1
    expected = guider(picture)
    pack_layers(guider)
    assert all(close(now, then) for now, then in zip(guider(picture), expected, strict=True))


@needs_onednn
def test_networks_for_inference_are_packed_and_hold_no_weight_twice(avx512):
    made = networks(ReferenceAwarePoseGuider(WIDTHS), motion=True)
    for_inference(made)
    for network in (made.denoising_unet, made.pose_guider, made.autoencoder):
        kinds = {type(layer) for layer in network.modules()}
        assert PackedLinear in kinds
        assert not kinds & {nn.Linear, nn.Conv2d, GEGLU}
    assert max(weight.ndim for weight in made.denoising_unet.parameters()) == 1


def test_networks_stay_as_they_are_where_packed_layers_take_longer(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    network = nn.Sequential(nn.Linear(4, 4), nn.Conv2d(4, 4, 3), GEGLU(4, 4))
    pack_layers(network)
    assert [type(layer) for layer in network] == [nn.Linear, nn.Conv2d, GEGLU]


@torch.no_grad()
def test_networks_for_inference_in_bf16_say_nearly_the_same():
    made = networks(ReferenceAwarePoseGuider(WIDTHS), motion=True)
    given = inputs(b=1, f=2)
    exact = made.denoising_unet(given["noisy_latents"], given["timesteps"])
    for_inference(made, torch.bfloat16)
    rounded = made.denoising_unet(given["noisy_latents"].bfloat16(), given["timesteps"])
    assert rounded.dtype == torch.bfloat16
    assert close(rounded.float(), exact, 0.05)


@needs_onednn
@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(24, 40), (2, 5, 24)),
        (nn.Linear(24, 40, bias=False), (3, 24)),
        (nn.Conv2d(8, 12, 3, padding=1), (2, 8, 9, 7)),
        (nn.Conv2d(8, 12, 4, stride=2, padding=1, bias=False), (2, 8, 10, 10)),
        (nn.Conv2d(8, 12, 1), (2, 8, 5, 5)),
        (GEGLU(16, 32), (2, 7, 16)),
    ],
)
def test_a_packed_layer_computes_what_the_layer_does(layer, shape, dtype, avx512):
    if not onednn_is_faster(dtype):
        pytest.skip("this processor has no bf16")
    network = nn.Sequential(layer).to(dtype)
    given = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    expected = network(given)
    pack_layers(network)
    assert type(network[0]) is not type(layer)
    assert close(network(given).float(), expected.float(), 1e-5 if dtype == torch.float32 else 0.02)


@torch.no_grad()
def test_a_packed_gate_is_gelu_by_the_error_function():
    layer = GEGLU(1, 1)
    layer.proj.weight.copy_(torch.tensor([[0.0], [1.0]]))
    layer.proj.bias.copy_(torch.tensor([1.0, 0.0]))  # 1 * gelu(x)
    x = torch.linspace(-4, 4, 33)[:, None]
    assert torch.allclose(PackedGeglu(layer)(x), F.gelu(x), atol=1e-6)
    assert not torch.allclose(F.gelu(x, approximate="tanh"), F.gelu(x), atol=1e-4)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(4, 4, 3, padding="same"),
        nn.Linear(4, 4).half(),
    ],
)
def test_layers_of_other_kinds_stay_as_they_are(layer, avx512):
    network = nn.Sequential(layer)
    pack_layers(network)
    assert network[0] is layer


@torch.no_grad()
@pytest.mark.parametrize("bias", [False, True])
def test_attention_with_widened_heads_attends_as_before(bias):
    torch.manual_seed(0)
    attention: Any = Attention(24, heads=3, dim_head=8, bias=bias)
    tokens = 3 * torch.randn(2, 70, 24)
    expected = attention(tokens)
    widen_heads(attention)
    assert attention.to_k(tokens).shape[-1] == 3 * NARROW
    assert close(attention(tokens), expected)


@torch.no_grad()
def test_fused_self_attention_attends_as_before():
    torch.manual_seed(0)
    attention: Any = Attention(24, heads=3, dim_head=8)
    tokens = 3 * torch.randn(5, 16, 24)
    assert close(FusedSelfAttention(attention)(tokens, attention_mask=None), attention(tokens))


def test_heads_that_are_wide_stay_as_they_are():
    attention = Attention(2 * NARROW, heads=2, dim_head=NARROW)
    before = attention.to_q
    widen_heads(attention)
    assert attention.to_q is before


def test_frames_are_encoded_some_at_a_time_and_are_what_they_are_together():
    made = networks(ReferenceAwarePoseGuider(WIDTHS, width=8, attention_heads=2), motion=False)
    frames = torch.rand(2, 5, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    encode, counts = made.autoencoder.encode, []
    made.autoencoder.encode = lambda pictures: counts.append(len(pictures)) or encode(pictures)
    assert torch.allclose(made.encode(frames, batch_size=4), made.encode(frames, batch_size=10), atol=1e-6)
    assert counts == [4, 4, 2, 10]
