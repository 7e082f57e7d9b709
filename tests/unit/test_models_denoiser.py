"""ReferenceNet and denoising UNet at tiny sizes."""

import functools

import pytest
import torch

from aniportrait.models.denoising_unet import DenoisingUNet
from aniportrait.models.motion_module import FrameGroupNorm, MotionModule
from aniportrait.models.reference_net import ReferenceNet

SIZES = {
    "in_channels": 12,
    "block_out_channels": (16, 24, 32),
    "layers_per_block": 1,
    "cross_attention_dim": 8,
    "attention_head_dim": 4,
    "norm_num_groups": 8,
}


@functools.cache
def networks(motion=False):
    torch.manual_seed(1)
    return ReferenceNet(**SIZES).eval(), denoiser(motion)


@functools.cache
def denoiser(motion=False):
    torch.manual_seed(2)
    stage1 = DenoisingUNet(**SIZES).eval()
    return stage1.with_motion(16, 4) if motion else stage1


def awake(motion_denoiser):
    """The same denoiser with motion modules that say something."""
    torch.manual_seed(3)
    for module in motion_denoiser.modules():
        if isinstance(module, MotionModule):
            torch.nn.init.normal_(module.proj_out.weight, std=0.3)
    return motion_denoiser


def inputs(b=2, f=3, side=8):
    generator = torch.Generator().manual_seed(0)
    draw = functools.partial(torch.randn, generator=generator)
    sides = (side, side // 2, side // 4, side // 4)
    return {
        "noisy_latents": draw(b, f, 12, side, side),
        "timesteps": torch.arange(b) * 300 + 7,
        "image_embeds": draw(b, 1, 8),
        "pose_features": tuple(draw(b, f, c, s, s) for c, s in zip((16, 16, 24, 32), sides, strict=True)),
    }


def reference(b=2, side=8):
    latents = torch.randn(b, 12, side, side, generator=torch.Generator().manual_seed(5))
    return networks()[0](latents, inputs(b)["image_embeds"])


def close(a, b, tolerance=1e-5):
    return torch.allclose(a, b, rtol=0, atol=tolerance * float(b.abs().max()))


def test_every_self_attention_of_the_reference_net_finds_its_partner_in_the_denoiser():
    features = reference()
    assert len(features) == 2 + 1 + 4  # two levels down, the middle, two layers at two levels up
    assert {tokens.shape[-1] for tokens in features.values()} == {16, 24, 32}
    with torch.no_grad():
        assert denoiser()(**inputs(), reference_features=features).shape == (2, 3, 12, 8, 8)


def test_the_portrait_changes_what_is_predicted():
    with torch.no_grad():
        assert not close(denoiser()(**inputs(), reference_features=reference()), denoiser()(**inputs()), 1e-3)


@pytest.mark.parametrize("motion", [False, True])
def test_a_hidden_portrait_is_no_portrait(motion):
    net = awake(denoiser(True)) if motion else denoiser()
    given, features = inputs(), reference()
    with torch.no_grad():
        shown = net(**given, reference_features=features)
        mixed = net(**given, reference_features=features, reference_keep=torch.tensor([True, False]))
        none = net(**given)
    assert close(mixed[:1], shown[:1])
    assert close(mixed[1:], none[1:])


def test_no_image_embedding_is_an_embedding_of_zeros():
    given = inputs()
    zeros = given | {"image_embeds": torch.zeros(2, 1, 8)}
    with torch.no_grad():
        assert torch.equal(denoiser()(**given | {"image_embeds": None}), denoiser()(**zeros))


@pytest.mark.parametrize("motion", [False, True])
def test_permuting_a_batch_permutes_its_predictions(motion):
    net = awake(denoiser(True)) if motion else denoiser()
    given, features = inputs(), reference()
    flipped = {key: value.flip(0) for key, value in given.items() if key != "pose_features"}
    flipped["pose_features"] = tuple(p.flip(0) for p in given["pose_features"])
    with torch.no_grad():
        straight = net(**given, reference_features=features)
        back = net(**flipped, reference_features={name: tokens.flip(0) for name, tokens in features.items()})
    assert close(back.flip(0), straight)


def test_without_motion_the_frames_of_a_clip_ignore_one_another():
    given, features = inputs(b=1, f=4), reference(b=1)
    with torch.no_grad():
        together = denoiser()(**given, reference_features=features)
        alone = denoiser()(
            given["noisy_latents"][:, 2:3],
            given["timesteps"],
            given["image_embeds"],
            tuple(p[:, 2:3] for p in given["pose_features"]),
            features,
        )
    assert close(together[:, 2:3], alone)


def test_motion_modules_start_silent_and_share_the_spatial_weights():
    stage1, stage2 = denoiser(), denoiser().with_motion(16, 4)
    with torch.no_grad():
        assert close(
            stage2(**inputs(), reference_features=reference()),
            stage1(**inputs(), reference_features=reference()),
        )
    spatial = {id(p) for p in stage2.parameters()} - {id(p) for p in stage2.motion_parameters()}
    assert spatial == {id(p) for p in stage1.parameters()}
    assert not any(p.is_meta for p in stage2.parameters())
    assert not any(buffer.is_meta for buffer in stage2.buffers())


def test_stage_one_keys_are_the_spatial_keys_of_stage_two():
    motion = {key for key in denoiser(True).state_dict() if "motion_modules." in key}
    assert motion
    assert not any(key.endswith(".pe") for key in motion)
    assert denoiser(True).state_dict().keys() - motion == denoiser().state_dict().keys()


def test_with_motion_a_frame_hears_of_the_others():
    given = inputs(b=1)
    changed = given | {"noisy_latents": given["noisy_latents"].clone()}
    changed["noisy_latents"][:, 0] += 1
    net = awake(denoiser(True))
    with torch.no_grad():
        assert not close(net(**changed)[:, 1:], net(**given)[:, 1:], 1e-3)


def test_motion_normalises_each_frame_by_itself():
    norm = FrameGroupNorm(2, 4)
    clip = torch.randn(1, 4, 3, 5, 5) * torch.tensor([1.0, 10.0, 100.0])[:, None, None]
    assert torch.allclose(norm(clip)[:, :, 1], torch.nn.functional.group_norm(clip[:, :, 1], 2), atol=1e-6)


def test_latents_whose_sides_halving_does_not_divide_come_back_in_their_size():
    with torch.no_grad():
        given = inputs(b=1, side=8) | {"noisy_latents": torch.randn(1, 2, 12, 6, 10), "pose_features": None}
        assert denoiser()(**given).shape == (1, 2, 12, 6, 10)


def test_exactly_the_dead_tensors_of_the_reference_net_are_frozen():
    torch.manual_seed(0)
    net, den = ReferenceNet(**SIZES), DenoisingUNet(**SIZES)
    given = inputs()
    features = net(torch.randn(2, 12, 8, 8), given["image_embeds"])
    den(**given, reference_features=features, reference_keep=torch.tensor([False, False])).sum().backward()
    frozen = [name for name, p in net.named_parameters() if not p.requires_grad]
    without = [name for name, p in net.named_parameters() if p.grad is None]
    assert len(frozen) == 20
    assert frozen == without
    assert all(p.grad is not None for p in den.parameters())


@pytest.mark.parametrize("motion", [False, True])
def test_checkpointing_changes_no_gradient_and_covers_motion(motion):
    torch.manual_seed(0)
    net, den = ReferenceNet(**SIZES), DenoisingUNet(**SIZES)
    den = awake(den.with_motion(16, 4)) if motion else den
    given, portrait = inputs(), torch.randn(2, 12, 8, 8)

    def gradients():
        for module in (net, den):
            module.zero_grad()
        features = net(portrait, given["image_embeds"])
        den(**given, reference_features=features).square().mean().backward()
        return [p.grad.clone() for module in (net, den) for p in module.parameters() if p.grad is not None]

    plain = gradients()
    net.enable_gradient_checkpointing()
    den.enable_gradient_checkpointing()
    assert all(m.gradient_checkpointing for m in den.modules() if isinstance(m, MotionModule))
    for before, after in zip(plain, gradients(), strict=True):
        assert torch.allclose(before, after, atol=1e-5 * max(1.0, float(before.abs().max())))


def test_bf16_autocast_and_channels_last_run():
    given = inputs() | {"reference_features": reference()}
    with torch.no_grad():
        plain = denoiser()(**given)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = denoiser()(**given)
        torch.manual_seed(2)
        last = DenoisingUNet(**SIZES).eval().to(memory_format=torch.channels_last)
        assert close(last(**given), plain, 1e-4)
    assert float((rounded - plain).std() / plain.std()) < 0.05


@pytest.mark.parametrize("levels", [(32, 64), (16, 16, 16, 32)])
@pytest.mark.parametrize("channels", [4, 192])
def test_other_sizes_work(levels, channels):
    sizes = SIZES | {"block_out_channels": levels, "in_channels": channels}
    net, den = ReferenceNet(**sizes), DenoisingUNet(**sizes).with_motion(8, 4)
    with torch.no_grad():
        features = net(torch.randn(1, channels, 8, 8), torch.randn(1, 1, 8))
        latents = torch.randn(1, 2, channels, 8, 8)
        assert den(latents, torch.tensor([5]), reference_features=features).shape == latents.shape


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"block_out_channels": (16,)}, "at least 2 levels"),
        ({"norm_num_groups": 32}, r"norm_num_groups \(32\) must divide every width, not 16"),
        ({"attention_head_dim": 5}, r"attention_head_dim \(5, the number of heads\)"),
    ],
)
def test_sizes_that_cannot_be_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        DenoisingUNet(**SIZES | change)


def test_what_does_not_fit_the_denoiser_is_said():
    given = inputs(f=17) | {"pose_features": None}
    with pytest.raises(ValueError, match=r"17 frames is longer than motion_max_seq_length \(16\)"):
        denoiser(True)(**given)
    short = inputs()
    short["pose_features"] = short["pose_features"][:3]
    with pytest.raises(ValueError, match="3 pose features given, but 3 levels take 4"):
        denoiser()(**short)
    other = dict(list(reference().items())[:-1])
    with pytest.raises(ValueError, match="must have the same levels and layers"):
        denoiser()(**inputs(), reference_features=other)
    with pytest.raises(ValueError, match=r"motion_num_attention_heads \(5\)"):
        denoiser().with_motion(16, 5)
