"""What latents are counted from can be undone, and relative ones start at the portrait."""

import pytest
import torch

from aniportrait.models.latent_space import AbsoluteLatents, PortraitRelativeLatents

SEEDED = torch.Generator().manual_seed(0)
FRAMES = torch.randn(2, 3, 4, 8, 8, generator=SEEDED)
PORTRAITS = torch.randn(2, 4, 8, 8, generator=SEEDED)


@pytest.mark.parametrize("space", [AbsoluteLatents(), PortraitRelativeLatents(3.0)])
def test_decoding_undoes_encoding(space):
    torch.testing.assert_close(space.decode(space.encode(FRAMES, PORTRAITS), PORTRAITS), FRAMES)


def test_a_denoiser_that_says_nothing_gives_the_portrait():
    silent = torch.zeros_like(FRAMES)
    shown = PortraitRelativeLatents(3.0).decode(silent, PORTRAITS)
    torch.testing.assert_close(shown, PORTRAITS[:, None].expand_as(FRAMES))


def test_a_frame_equal_to_the_portrait_leaves_nothing_to_say_whatever_the_scale():
    still = PORTRAITS[:, None].expand(-1, 3, -1, -1, -1)
    assert not PortraitRelativeLatents(5.0).encode(still, PORTRAITS).any()


def test_absolute_latents_do_not_look_at_the_portrait():
    assert torch.equal(AbsoluteLatents().encode(FRAMES, PORTRAITS), FRAMES)
