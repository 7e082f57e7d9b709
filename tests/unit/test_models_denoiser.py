"""ReferenceNet and denoising UNet at tiny sizes."""

import pytest
import torch
from tiny_unets import SIZES, awake, close, denoiser, inputs, reference

from aniportrait.models.denoising_unet import DenoisingUNet
from aniportrait.models.motion_module import FrameGroupNorm
from aniportrait.models.reference_net import ReferenceNet


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


def test_equal_frames_stay_equal_without_motion_and_under_silent_motion():
    given, features = inputs(b=1, f=1), reference(b=1)
    noisy = given["noisy_latents"].expand(1, 4, -1, -1, -1)
    pose = tuple(p.expand(1, 4, -1, -1, -1) for p in given["pose_features"])
    for net in (denoiser(), denoiser().with_motion(16, 4)):
        with torch.no_grad():
            frames = net(noisy, given["timesteps"], given["image_embeds"], pose, features)
        assert close(frames, frames[:, :1].expand_as(frames))


@pytest.mark.parametrize("motion", [False, True])
def test_a_frame_of_one_clip_changes_nothing_in_another(motion):
    net = awake(denoiser(True)) if motion else denoiser()
    given, features = inputs(b=2, f=4), reference()
    changed = given | {"noisy_latents": given["noisy_latents"].clone()}
    changed["noisy_latents"][0, 3] += 1
    with torch.no_grad():
        before = net(**given, reference_features=features)
        after = net(**changed, reference_features=features)
    assert close(after[1], before[1])
    assert not close(after[0], before[0], 1e-3)


def test_motion_modules_start_silent_and_share_the_spatial_weights():
    stage1 = denoiser()
    stage2 = stage1.with_motion(16, 4)
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
    with pytest.raises(ValueError, match="image_embeds of 2 tokens must be of one"):
        denoiser()(**inputs() | {"image_embeds": torch.zeros(2, 2, 8)})
    other = dict(list(reference().items())[:-1])
    with pytest.raises(ValueError, match="must have the same levels and layers"):
        denoiser()(**inputs(), reference_features=other)
    with pytest.raises(ValueError, match=r"motion_num_attention_heads \(5\)"):
        denoiser().with_motion(16, 5)
