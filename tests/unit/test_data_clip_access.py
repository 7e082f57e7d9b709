"""What a few frames of a clip cost, counted in decoded frames: no more in a long clip than in a short one."""

import numpy as np
import pytest

from aniportrait.data import clip_codec
from aniportrait.data.clip_codec import GROUP_OF_PICTURES, decode_frames, encode_clip
from aniportrait.data.sound import MediaError


def film(frames: int) -> bytes:
    """Frame i has brightness 10 + i % 200."""
    return encode_clip((np.full((32, 32, 3), 10 + k % 200, np.uint8) for k in range(frames)), 25.0)


@pytest.fixture
def decoded(monkeypatch):
    """Counts the frames that the decoder gave."""
    seen, inner = [], clip_codec._decoded

    def counting(container, stream):
        for frame in inner(container, stream):
            seen.append(frame.pts)
            yield frame

    monkeypatch.setattr(clip_codec, "_decoded", counting)
    return seen


@pytest.mark.parametrize("frames", [100, 1000, 4000])
@pytest.mark.parametrize("stride", [1, 4])
def test_a_window_costs_the_same_in_a_clip_of_any_length(frames, stride, decoded):
    video = film(frames)
    for first in (0, 37, frames - 1 - 15 * stride):
        decoded.clear()
        wanted = [first + stride * k for k in range(16)]
        pictures = decode_frames(video, wanted)
        np.testing.assert_allclose(pictures.mean(axis=(1, 2, 3)), [10 + k % 200 for k in wanted], atol=2.5)
        assert len(decoded) <= 15 * stride + 1 + GROUP_OF_PICTURES - 1


def test_frames_that_a_keyframe_is_nearer_to_are_not_decoded_through(decoded):
    decode_frames(film(60), [10, 24])
    assert len(decoded) == 11 + 1


def test_repeats_and_any_order_are_served(decoded):
    pictures = decode_frames(film(60), [30, 5, 30, 6])
    np.testing.assert_allclose(pictures.mean(axis=(1, 2, 3)), (40, 15, 40, 16), atol=2.5)
    assert len(decoded) == 7 + 7


def test_a_clip_without_pictures_is_an_error():
    with pytest.raises(MediaError):
        decode_frames(film(5), [7])
