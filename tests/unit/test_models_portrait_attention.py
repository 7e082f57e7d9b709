"""What is computed once for a portrait gives the numbers that computing it every time gives."""

import pytest
import torch
from benchmarks.sampling import StockCrossAttention
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from tiny_unets import SIZES, awake, close, denoiser, inputs, reference

from aniportrait.models.denoising_unet import DenoisingUNet
from aniportrait.models.image_attention import ImageAttention
from aniportrait.models.portrait_attention import spatial_blocks
from aniportrait.models.reference_net import ReferenceNet


@pytest.mark.parametrize("motion", [False, True])
@pytest.mark.parametrize("keep", [None, torch.tensor([True, False])])
def test_a_portrait_projected_once_says_what_it_says_projected_every_time(motion, keep):
    net = awake(denoiser(True)) if motion else denoiser()
    given, features = inputs(), reference()
    with torch.no_grad():
        plain = net(**given, reference_features=features, reference_keep=keep)
        answers, keys_and_values = net.projected(given["image_embeds"], features)
        once = given | {"image_embeds": answers, "reference_features": keys_and_values}
        assert close(net(**once, reference_keep=keep), plain)


def test_projecting_leaves_nothing_on_the_modules():
    net, given, features = denoiser(), inputs(), reference()
    before = {name: set(vars(module)) for name, module in net.named_modules()}
    with torch.no_grad():
        net.projected(given["image_embeds"], features)
        plain = net(**given)
        net(**given, reference_features=features)
        assert torch.equal(net(**given), plain)
    assert {name: set(vars(module)) for name, module in net.named_modules()} == before


def test_keys_and_values_of_the_portrait_are_projected_once_for_all_frames():
    net, given, features = denoiser(), inputs(f=5), reference()
    projections = {id(block.attn1.to_k) for block in spatial_blocks(net).values()}
    tokens = []
    hooks = [
        module.register_forward_hook(lambda module, args, output: tokens.append(args[0].shape[0]))
        for module in net.modules()
        if id(module) in projections
    ]
    with torch.no_grad():
        answers, keys_and_values = net.projected(given["image_embeds"], features)
        assert tokens == [2] * len(hooks)  # two clips: a portrait each
        tokens.clear()
        net(**given | {"image_embeds": answers}, reference_features=keys_and_values)
    for hook in hooks:
        hook.remove()
    assert tokens == [2 * 5] * len(hooks)  # their own tokens alone


@pytest.mark.parametrize("motion", [False, True])
def test_attention_to_one_token_needs_no_queries_and_keys(motion):
    net = awake(denoiser(True)) if motion else denoiser()
    given, features = inputs(), reference()
    for block in spatial_blocks(net).values():
        torch.nn.init.normal_(block.norm2.bias, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours = net(**given, reference_features=features)
        own = {}
        for name, block in spatial_blocks(net).items():
            own[name], block.attn2.processor = block.attn2.processor, StockCrossAttention()
        stock = net(**given, reference_features=features)
        for name, block in spatial_blocks(net).items():
            block.attn2.processor = own[name]
    assert close(ours, stock)
    blind = net(**given | {"image_embeds": None}, reference_features=features).detach()
    assert not close(blind, ours, 1e-3)


def test_without_an_embedding_cross_attention_says_so():
    attention = next(iter(spatial_blocks(denoiser()).values())).attn2
    assert isinstance(attention.processor, ImageAttention)
    with pytest.raises(ValueError, match=r"attn2 attends to an image embedding, and none is given"):
        attention(torch.zeros(2, 4, 16))


def test_exactly_the_tensors_without_gradient_are_frozen():
    torch.manual_seed(0)
    net, den = ReferenceNet(**SIZES), DenoisingUNet(**SIZES)
    given = inputs()
    features = net(torch.randn(2, 12, 8, 8), given["image_embeds"])
    den(**given, reference_features=features, reference_keep=torch.tensor([False, False])).sum().backward()
    for network in (net, den):
        frozen = [name for name, p in network.named_parameters() if not p.requires_grad]
        assert frozen == [name for name, p in network.named_parameters() if p.grad is None]
    unread = ("norm2.weight", "norm2.bias", "attn2.to_q.weight", "attn2.to_k.weight")
    assert all(name.endswith(unread) for name, p in den.named_parameters() if not p.requires_grad)
    of_the_last = [
        name
        for name, p in net.named_parameters()
        if not p.requires_grad and name.startswith("unet.up_blocks.2.attentions.1.")
    ]
    assert len(of_the_last) == 20
    frozen = {name for name, p in net.named_parameters() if not p.requires_grad}
    assert all(name.endswith(unread) for name in frozen - set(of_the_last))


def test_nothing_after_the_last_recorded_norm_is_computed():
    net = ReferenceNet(**SIZES)
    last = net.unet.up_blocks[-1].attentions[-1].transformer_blocks[0]
    called = []
    for name in ("attn1", "attn2", "norm3", "ff"):
        last.get_submodule(name).register_forward_hook(lambda *_, name=name: called.append(name))
    features = net(torch.randn(2, 12, 8, 8), inputs()["image_embeds"])
    assert len(features) == len(spatial_blocks(net.unet))
    assert called == []


def test_the_keys_are_those_of_a_stock_unet():
    config = dict(denoiser().unet.config)
    stock = UNet2DConditionModel.from_config(config).state_dict()
    own = denoiser().unet.state_dict()
    assert {key: value.shape for key, value in own.items()} == {k: v.shape for k, v in stock.items()}
