"""Damage to videos: each kind changes what it should, by as much as it says, and nothing else."""

import math

import numpy as np
import pytest
import torch
from scored_videos import FPS, face, random_pixels, track, video

from aniportrait.data.schema import SAMPLE_RATE
from aniportrait.evaluation.distortions import (
    blurred,
    noisy,
    of_another_person,
    similarity,
    with_delayed_sound,
    with_frozen_mouth,
)
from aniportrait.evaluation.video_pair import ScoredVideo

FRAMES = 20


class Detector:
    """Finds a face of its own, and remembers where."""

    def __call__(self, frames):
        self.frames = frames
        self.track = track(len(frames))
        return self.track


@pytest.fixture
def detect():
    return Detector()


def talking(landmarks=None, pixels=None, size=40):
    pixels = random_pixels(FRAMES, size, size) if pixels is None else pixels
    sound = np.random.default_rng(0).normal(size=round(FRAMES / FPS * SAMPLE_RATE)).astype(np.float32)
    return video(
        FRAMES, pixels=pixels, audio=sound, landmarks=wide_face() if landmarks is None else landmarks
    )


def wide_face():
    """A face whose upper part is spread out, as similarities need."""
    points = face()
    points[:300] += np.random.default_rng(1).uniform(-0.1, 0.1, (300, 2)) * (points[:300] == 0.5)
    return points


def test_whatever_damages_pixels_keeps_the_sound_and_has_the_face_detected_on_what_it_made(detect):
    whole = talking()
    before = whole.frames.clone()
    damages = (
        lambda: blurred(whole, detect, 1.0),
        lambda: noisy(whole, detect, 0.1, torch.Generator().manual_seed(0)),
        lambda: with_frozen_mouth(whole, detect),
    )
    for damage in damages:
        damaged = damage()
        assert damaged.audio is whole.audio
        assert damaged.fps == whole.fps
        assert damaged.track is detect.track
        assert damaged.frames is detect.frames
        assert damaged.frames.dtype == torch.uint8
        assert not torch.equal(damaged.frames, before)
        assert torch.equal(whole.frames, before)


def test_blur_spreads_a_point_as_a_gaussian_within_its_frame_and_channel(detect):
    pixels = torch.zeros(FRAMES, 3, 41, 41, dtype=torch.uint8)
    pixels[3, 1, 20, 20] = 255
    damaged = blurred(video(FRAMES, pixels=pixels), detect, 1.5).frames
    y, x = np.mgrid[-20:21, -20:21]
    expected = 255 * np.exp(-(x**2 + y**2) / (2 * 1.5**2)) / (2 * math.pi * 1.5**2)
    assert np.abs(damaged[3, 1].numpy() - expected).max() < 0.51 + 0.01
    damaged[3, 1] = 0
    assert not damaged.any()


def test_blur_leaves_even_colours_alone_to_the_edge(detect):
    pixels = torch.tensor([10, 128, 250], dtype=torch.uint8)[None, :, None, None].expand(FRAMES, 3, 16, 16)
    assert torch.equal(blurred(video(FRAMES, pixels=pixels), detect, 3.0).frames, pixels)


def test_noise_is_normal_of_its_deviation_new_in_every_frame_and_the_generators_own(detect):
    grey = video(FRAMES, pixels=torch.full((FRAMES, 3, 32, 32), 128, dtype=torch.uint8))
    noise, again, other = (
        noisy(grey, detect, 0.05, torch.Generator().manual_seed(seed)).frames.double() - 128
        for seed in (0, 0, 1)
    )
    assert noise.mean().abs() < 0.2
    assert noise.std().item() == pytest.approx(math.sqrt((255 * 0.05) ** 2 + 1 / 12), rel=0.02)
    assert np.corrcoef(noise[0].flatten(), noise[1].flatten())[0, 1] == pytest.approx(0.0, abs=0.06)
    assert torch.equal(noise, again)
    assert not torch.equal(noise, other)


def test_a_still_heads_mouth_is_that_of_one_frame_and_all_else_its_own(detect):
    whole = talking()
    damaged = with_frozen_mouth(whole, detect, frame=7)
    # The mouth's box is 14 to 26 by 22 to 30 of 40 pixels; its soft edge a quarter of 12 wide.
    box = (..., slice(22, 30), slice(14, 26))
    assert torch.equal(damaged.frames[box], whole.frames[7:8][box].expand(FRAMES, -1, -1, -1))
    untouched = torch.ones(40, 40, dtype=torch.bool)
    untouched[22 - 3 : 30 + 3, 14 - 3 : 26 + 3] = False
    assert torch.equal(damaged.frames[..., untouched], whole.frames[..., untouched])
    assert torch.equal(damaged.frames[7], whole.frames[7])
    edge = damaged.frames[:, :, 25, 12].double()  # its centre is 1.5 of 3 pixels away
    between = (whole.frames[:, :, 25, 12].double() + whole.frames[7, :, 25, 12].double()) / 2
    assert (edge - between).abs().max() <= 0.51


def test_a_frozen_mouth_follows_the_head(detect):
    landmarks = np.stack([wide_face() + np.array((frame % 3, -(frame % 2))) / 40 for frame in range(FRAMES)])
    whole = talking(landmarks)
    damaged = with_frozen_mouth(whole, detect, frame=0)
    kept = whole.frames[0, :, 22:30, 14:26].float()
    for frame in range(FRAMES):
        right, up = frame % 3, frame % 2
        mouth = damaged.frames[frame, :, 22 - up : 30 - up, 14 + right : 26 + right].float()
        assert (mouth - kept).abs().max() <= 1
        assert torch.equal(damaged.frames[frame, :, :15], whole.frames[frame, :, :15])


def test_a_frozen_mouth_turns_with_the_head(detect):
    landmarks = np.stack([1 - wide_face() if frame == 1 else wide_face() for frame in range(FRAMES)])
    damaged = with_frozen_mouth(talking(landmarks), detect, frame=0).frames
    kept, upside_down = damaged[0, :, 22:30, 14:26].float(), damaged[1, :, 10:18, 14:26].float()
    assert (upside_down.flip(dims=(1, 2)) - kept).abs().max() <= 1


def test_an_open_mouth_is_hidden_whole_and_kept_whole(detect):
    open_wide = wide_face()
    open_wide[np.argmax(open_wide[:, 1] == 0.7)] = (0.6, 0.9)
    landmarks = np.stack([wide_face()] + [open_wide] * (FRAMES - 1))
    whole = talking(landmarks)
    damaged = with_frozen_mouth(whole, detect)
    box = (..., slice(22, 38), slice(14, 26))
    assert torch.equal(damaged.frames[box], whole.frames[:1][box].expand(FRAMES, -1, -1, -1))
    assert torch.equal(with_frozen_mouth(whole, detect, frame=1).frames[0][box], whole.frames[1][box])


def test_frames_without_a_face_keep_their_pixels_and_cannot_give_a_mouth(detect):
    whole = talking()
    whole.track.valid[4] = False
    assert torch.equal(with_frozen_mouth(whole, detect).frames[4], whole.frames[4])
    with pytest.raises(ValueError, match="frame 4 must show a face"):
        with_frozen_mouth(whole, detect, frame=4)


def test_similarity_finds_turn_scale_and_shift():
    points = torch.randn(1, 9, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    cos, sin = 1.3 * math.cos(0.4), 1.3 * math.sin(0.4)
    turned = points @ torch.tensor([[cos, sin], [-sin, cos]], dtype=torch.float64) + torch.tensor((5.0, -2.0))
    turn, shift = similarity(points, turned[0])
    assert turn.item() == pytest.approx(complex(cos, sin))
    assert shift.item() == pytest.approx(complex(5, -2))


def test_delayed_sound_is_the_sound_later_and_nothing_else():
    whole = talking()
    shift = round(0.2 * SAMPLE_RATE)
    later, earlier = with_delayed_sound(whole, 0.2), with_delayed_sound(whole, -0.2)
    for damaged in (later, earlier):
        assert damaged.frames is whole.frames
        assert damaged.track is whole.track
        assert damaged.audio.shape == whole.audio.shape
    assert not later.audio[:shift].any()
    np.testing.assert_array_equal(later.audio[shift:], whole.audio[:-shift])
    assert not earlier.audio[-shift:].any()
    np.testing.assert_array_equal(earlier.audio[:-shift], whole.audio[shift:])
    np.testing.assert_array_equal(with_delayed_sound(whole, 0.0).audio, whole.audio)


def test_sound_that_is_not_there_cannot_be_late():
    with pytest.raises(ValueError, match="without sound"):
        with_delayed_sound(video(3), 0.1)
    with pytest.raises(ValueError, match=r"seconds \(2\) must be less than the sound's 0.8"):
        with_delayed_sound(talking(), 2.0)


def test_another_persons_clip_is_cut_to_this_ones_length_with_its_own_sound():
    whole, other = talking(), video(30, pixels=random_pixels(30, 40, 40, seed=1))
    other = ScoredVideo(other.frames, other.track, np.arange(19200, dtype=np.float32), FPS)
    damaged = of_another_person(whole, other)
    assert torch.equal(damaged.frames, other.frames[:FRAMES])
    np.testing.assert_array_equal(damaged.track.landmarks, other.track.landmarks[:FRAMES])
    np.testing.assert_array_equal(damaged.audio, other.audio[:12800])
    assert damaged.fps == whole.fps


def test_another_persons_clip_must_fit():
    whole = talking()
    with pytest.raises(ValueError, match="3 frames must not be fewer than the 20"):
        of_another_person(whole, video(3, 40, 40))
    with pytest.raises(
        ValueError, match=r"frames \(3, 8, 8\) at 25 fps must be as this one's \(3, 40, 40\) at 25 fps"
    ):
        of_another_person(whole, video(FRAMES, 8, 8))


def test_damage_that_is_none_is_refused(detect):
    with pytest.raises(ValueError, match=r"sigma \(0\) must be above 0 pixels"):
        blurred(talking(), detect, 0.0)
    with pytest.raises(ValueError, match=r"deviation \(-1\) must be above 0"):
        noisy(talking(), detect, -1.0, torch.Generator())
