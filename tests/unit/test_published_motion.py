"""Head motion as the published network was run: chunks of 5 s, half the rotation, a mean over 7 frames."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Generator

from aniportrait.models.audio_encoder import LogMelEncoder, zero_mean_unit_variance
from aniportrait.models.published_audio2pose import PublishedAudio2Pose
from aniportrait.pipelines.head_motion import PredictedMotion
from aniportrait.pipelines.published_motion import PublishedMotion


class Counter:
    """Says how many frames have passed since its chunk began, and remembers what it was asked for."""

    identity = SimpleNamespace(num_embeddings=100)

    def __init__(self):
        self.calls, self.heard, self.encoder = [], [], self

    def normalised(self, sound):
        return zero_mean_unit_variance(sound)

    def encode(self, sound, frames):
        self.heard.append(sound)
        return torch.zeros(1, frames, 1)

    def roll_out(self, features, style):
        frames = features.shape[1]
        self.calls.append((self.heard[-1].shape[1], frames, int(style)))
        return torch.arange(frames, dtype=torch.float32)[None, :, None].expand(1, frames, 6)


def moved(frames, style=None, seed=0, **numbers):
    network = Counter()
    sound = torch.zeros(1, round(frames * 16_000 / 30))
    motion = PublishedMotion(network, style, **numbers)(sound, frames, Generator().manual_seed(seed))
    return motion, network.calls


@pytest.mark.parametrize(
    ("frames", "chunks"),
    [(1, [1]), (149, [149]), (150, [150]), (299, [299]), (300, [150, 150]), (470, [150, 150, 170])],
)
def test_every_frame_is_decoded_once_in_chunks_of_5_s_the_last_with_the_rest(frames, chunks):
    motion, calls = moved(frames)
    assert motion.shape == (frames, 6)
    assert [call[1] for call in calls] == chunks
    assert sum(call[0] for call in calls) == round(frames * 16_000 / 30)
    assert all(abs(call[0] - call[1] * 16_000 / 30) <= 1 for call in calls)


def test_sound_is_normalised_over_the_whole_clip_not_over_each_chunk():
    quiet, loud = torch.randn(2, 1, 80_000, generator=Generator().manual_seed(1)) * torch.tensor(
        [[[0.1]], [[1]]]
    )
    network = Counter()
    PublishedMotion(network)(torch.cat((quiet, loud), dim=1), 300, Generator().manual_seed(0))
    first, second = network.heard
    assert float(torch.cat((first, second), dim=1).std()) == pytest.approx(1, abs=1e-3)
    assert float(second.std() / first.std()) == pytest.approx(10, rel=0.05)


def test_rotations_are_halved_and_translations_are_not():
    motion, _ = moved(40, smoothing=1)
    np.testing.assert_allclose(motion[:, :3], 0.5 * np.arange(40)[:, None].repeat(3, axis=1))
    np.testing.assert_allclose(motion[:, 3:], np.arange(40)[:, None].repeat(3, axis=1))


def test_the_mean_over_7_frames_is_cut_off_at_the_ends():
    motion, _ = moved(20)
    assert motion[0, 5] == pytest.approx(1.5)  # of 0, 1, 2, 3
    assert motion[10, 5] == pytest.approx(10)
    assert motion[-1, 5] == pytest.approx(17.5)  # of 16 to 19


def test_the_seed_decides_the_style_unless_one_is_named():
    styles = {moved(10, seed=seed)[1][0][2] for seed in range(8)}
    assert len(styles) > 1
    assert moved(10, seed=3)[1] == moved(10, seed=3)[1]
    assert {moved(10, style=7, seed=seed)[1][0][2] for seed in range(3)} == {7}


@pytest.mark.parametrize("motion", [PublishedMotion, PredictedMotion])
@pytest.mark.parametrize("style", [-1, 100])
def test_a_style_that_is_none_of_the_network_s_is_one_sentence(motion, style):
    with pytest.raises(ValueError, match=rf"style \({style}\) must be from 0 to 99"):
        motion(Counter(), style)


def test_no_graph_is_kept_of_minutes_of_sound():
    encoder = LogMelEncoder(width=16, layers=1).eval()
    network = PublishedAudio2Pose(encoder, latent_dim=16, identities=3, layers=1, heads=2).eval()
    kept = []
    encoder.norm.register_forward_hook(lambda module, inputs, output: kept.append(output.requires_grad))
    motion = PublishedMotion(network)(torch.randn(1, 16_000), 30, Generator().manual_seed(0))
    assert motion.shape == (30, 6)
    assert kept == [False]
