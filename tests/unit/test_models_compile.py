"""torch.compile takes each network as one graph."""

import pytest
import torch
from tiny_unets import SIZES, awake, close, inputs

from aniportrait.models.compiling import compile_layers
from aniportrait.models.denoising_unet import DenoisingUNet
from aniportrait.models.reference_net import ReferenceNet

SMALL = SIZES | {"block_out_channels": (16, 24)}


def networks(motion):
    torch.manual_seed(0)
    net, den = ReferenceNet(**SMALL).eval(), DenoisingUNet(**SMALL).eval()
    given = inputs()
    given["pose_features"] = (*given["pose_features"][:2], torch.randn(2, 3, 24, 4, 4))
    return net, awake(den.with_motion(16, 4)) if motion else den, given


def compiled(network, backend):
    torch.compiler.reset()
    return torch.compile(network, fullgraph=True, backend=backend)


def test_the_reference_net_is_one_graph():
    net, _, given = networks(motion=False)
    latents = torch.randn(2, 12, 8, 8)
    with torch.no_grad():
        plain = net(latents, given["image_embeds"])
        features = compiled(net, "eager")(latents, given["image_embeds"])
    assert features.keys() == plain.keys()
    assert all(close(features[name], tokens) for name, tokens in plain.items())


def test_the_denoiser_of_stage_1_is_one_graph_with_a_projected_portrait():
    net, den, given = networks(motion=False)
    with torch.no_grad():
        features = net(torch.randn(2, 12, 8, 8), given["image_embeds"])
        plain = den(**given, reference_features=features)
        answers, keys_and_values = den.projected(given["image_embeds"], features)
        once = given | {"image_embeds": answers, "reference_features": keys_and_values}
        assert close(compiled(den, "eager")(**once), plain)


def gradients(net, den, given, of):
    for network in of:
        network.zero_grad()
    features = net(torch.ones(2, 12, 8, 8), given["image_embeds"])
    keep = torch.tensor([True, False])
    den(**given, reference_features=features, reference_keep=keep).square().mean().backward()
    return [p.grad.clone() for network in of for p in network.parameters() if p.grad is not None]


def same_gradients(plain, others):
    return all(
        torch.allclose(before, after, atol=1e-4 * max(1e-3, float(before.abs().max())))
        for before, after in zip(plain, others, strict=True)
    )


@pytest.mark.slow
@pytest.mark.parametrize("motion", [False, True])
def test_forward_and_backward_are_one_graph_each(motion):
    """Not for inductor: of a whole UNet torch 2.13's loses gradients on a CPU, of single layers it does not."""
    net, den, given = networks(motion)
    plain = gradients(net, den, given, (net, den))
    graphs = compiled(net, "aot_eager"), torch.compile(den, fullgraph=True, backend="aot_eager")
    assert same_gradients(plain, gradients(*graphs, given, (net, den)))


@pytest.mark.slow
@pytest.mark.parametrize("motion", [False, True])
def test_layers_compiled_by_inductor_have_the_gradients_of_plain_ones(motion):
    net, den, given = networks(motion)
    plain = gradients(net, den, given, (net, den))
    torch.compiler.reset()
    compile_layers(net, "inductor")
    compile_layers(den, "inductor")
    assert same_gradients(plain, gradients(net, den, given, (net, den)))
