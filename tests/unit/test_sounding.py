"""Mouths move with what can be heard, and rest in silence."""

import numpy as np
import pytest
import torch

from aniportrait.models.audio2mesh import Audio2Mesh, PublishedHead, TemporalHead
from aniportrait.models.audio_encoder import LogMelEncoder
from aniportrait.models.sounding import sounding

RATE = 16_000


def noise(seconds: float, loudness: float) -> torch.Tensor:
    drawn = np.random.default_rng(0).standard_normal(round(seconds * RATE))
    return torch.from_numpy(loudness * drawn).float()[None]


@pytest.mark.parametrize("loudness", [0.0, 1e-4, 1e-3])
@pytest.mark.parametrize("seconds", [0.1, 1.0, 60.0])
def test_nothing_sounds_in_silence_and_in_noise_too_faint_to_hear(loudness, seconds):
    assert sounding(noise(seconds, loudness), max(1, round(25 * seconds))).max() == 0


@pytest.mark.parametrize("loudness", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("frames", [1, 3, 25, 75])
def test_speech_of_any_loudness_sounds_throughout(loudness, frames):
    assert sounding(noise(frames / 25, loudness), frames).min() == 1


def test_a_long_pause_is_silent_with_slopes_that_reach_into_it_and_a_short_one_is_not():
    for hush in (0.0, 1e-3):
        audio = torch.cat((noise(2, 0.1), noise(3, hush), noise(2, 0.1)), dim=1)
        heard = sounding(audio, 175)[0]
        assert heard[:55].min() == 1
        assert heard[120:].min() == 1
        assert heard[70:105].max() == 0
        assert heard.diff().abs().max() < 0.15, "nothing jumps"
    stop = torch.cat((noise(1, 0.1), noise(0.3, 0.0), noise(1, 0.1)), dim=1)
    assert sounding(stop, round(2.3 * 25)).min() == 1


@pytest.mark.parametrize("fps", [25.0, 60.0])
def test_slopes_last_as_long_at_any_frame_rate(fps):
    audio = torch.cat((noise(2, 0.1), noise(3, 0.0)), dim=1)
    last = sounding(audio, round(5 * fps))[0].nonzero().max().item() / fps
    assert last == pytest.approx(2.6, abs=0.05)


def moving(head):
    """A network whose every frame has moved."""
    network = Audio2Mesh(LogMelEncoder(width=8, layers=1), head).eval()
    torch.nn.init.ones_(list(head.parameters())[-1])
    return network


@torch.no_grad()
def test_our_face_rests_in_silence_and_the_published_one_does_as_it_is_told():
    silence, speech = noise(2, 1e-3), noise(2, 0.1)
    ours = moving(TemporalHead(in_width=8, width=8, layers=1))
    assert ours(silence, 50).abs().max() == 0
    assert ours(speech, 50).abs().min() == 1
    published = moving(PublishedHead(in_width=8, latent_dim=4))
    assert published(silence, 50).abs().min() == 1
