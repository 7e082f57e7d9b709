"""The part of a training step that both steps of Lmk2Video share, under mixed precision."""

from types import SimpleNamespace

import pytest
import torch

from aniportrait.evaluation.face_l1 import inside
from aniportrait.models.autoencoder import SDVae
from aniportrait.models.portrait_networks import Conditions
from aniportrait.training.portrait_step import (
    ConditionDropout,
    ObjectiveSettings,
    covered,
    drop_conditions,
    frame_latents,
    pixel_weights,
)

VAE = {
    "block_out_channels": [8, 8],
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 4,
    "scaling_factor": 0.18215,
}


def test_latents_encoded_in_bfloat16_are_noised_in_float32_as_those_prepared():
    """The noise has the latents' precision, and means of bfloat16 noises collide: NoiseAlarm would end good runs."""
    autoencoder = SDVae(sizes=VAE)
    networks = SimpleNamespace(
        encode=lambda frames: autoencoder.encode(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
    )
    batch = SimpleNamespace(frames=torch.zeros(1, 1, 3, 16, 16), latents=None)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert networks.encode(batch.frames).dtype == torch.bfloat16
        assert frame_latents(networks, batch).dtype == torch.float32


HIDDEN = ConditionDropout(portrait=0.1, image_embeds=0.2, reference_features=0.3)
COUNT = 4000


def dropped(dropout):
    """Whether the embedding and the reference features are told, of many samples with a generator each."""
    generators = [torch.Generator().manual_seed(number) for number in range(COUNT)]
    conditions = Conditions({}, torch.ones(COUNT, 1, 2), torch.zeros(COUNT, 1, 1, 1), ())
    told, keep = drop_conditions(conditions, dropout, generators)
    following = torch.cat([torch.rand(1, generator=generator) for generator in generators])
    return told.image_embeds[:, 0, 0] == 1, keep, following


def test_a_portrait_is_hidden_wholly_or_in_one_of_its_forms_in_the_shares_asked_for():
    embeds, keep, _ = dropped(HIDDEN)
    shares = {
        "portrait": (~embeds & ~keep).float().mean(),
        "image_embeds": (~embeds & keep).float().mean(),
        "reference_features": (embeds & ~keep).float().mean(),
    }
    for name, share in shares.items():
        assert abs(share - getattr(HIDDEN, name)) < 4 * (0.25 / COUNT) ** 0.5, name


def test_other_shares_change_neither_who_loses_the_whole_portrait_nor_the_noise_that_is_drawn_next():
    embeds, keep, following = dropped(ConditionDropout(portrait=0.1))
    more_embeds, more_keep, more_following = dropped(HIDDEN)
    assert torch.equal(~embeds, ~keep)
    assert torch.equal(~embeds, ~more_embeds & ~more_keep)
    assert torch.equal(following, more_following)


@pytest.mark.parametrize("shares", [(-0.1, 0.0, 0.0), (0.5, 0.3, 0.3)])
def test_shares_that_cannot_be_are_refused(shares):
    with pytest.raises(ValueError, match="dropped shares"):
        ConditionDropout(*shares)


def weights_of(face_weight, mouth_weight):
    """On 4x4 latents: a face in the left half, a mouth that covers a quarter of one pixel and none of its centre."""
    batch = SimpleNamespace(
        face_box=torch.tensor([[[0.0, 0.0, 0.5, 1.0]]]),
        mouth_box=torch.tensor([[[0.25, 0.5, 0.375, 0.625]]]),
    )
    settings = ObjectiveSettings(ConditionDropout(), 0.0, 0.0, face_weight, mouth_weight)
    return pixel_weights(batch, 4, 4, settings)


def test_errors_of_the_mouth_weigh_more_by_the_part_of_a_pixel_that_it_covers():
    expected = torch.ones(4, 4)
    expected[2, 1] = 1 + (5 - 1) / 4
    torch.testing.assert_close(weights_of(1.0, 5.0)[0, 0, 0], expected)
    expected[:, :2] *= 3
    torch.testing.assert_close(weights_of(3.0, 5.0)[0, 0, 0], expected)
    assert weights_of(1.0, 1.0) is None


def test_a_box_of_whole_pixels_covers_these_and_no_others():
    box = torch.tensor([0.25, 0.0, 0.75, 0.5])
    assert torch.equal(covered(box, 8, 4) == 1, inside(box, 8, 4))
    assert covered(box, 5, 7).sum() == pytest.approx(35 * 0.25)


def test_where_all_are_seen_no_attention_is_masked():
    _, keep, following = dropped(ConditionDropout(portrait=0.0))
    assert keep is None
    assert torch.equal(following, dropped(HIDDEN)[2])
