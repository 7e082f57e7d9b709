"""Long sounds go through encoders in windows of bounded size, and come out as in one pass."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from aniportrait.models.audio_encoder import Wav2Vec2Encoder, sampled
from aniportrait.models.log_mel import SAMPLE_RATE, log_mel
from aniportrait.models.sound_windows import encoded_in_windows

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": (16,) * 7,
}


class FrameMeans:
    """Each frame's mean sample: what a window says of a frame does not depend on the window. Notes how much it got."""

    def __init__(self):
        self.lengths: list[int] = []

    def __call__(self, audio: Tensor, frames: int) -> Tensor:
        self.lengths.append(audio.shape[-1])
        edges = [round(i * audio.shape[-1] / frames) for i in range(frames + 1)]
        means = [audio[:, a:b].mean(dim=1) for a, b in pairwise(edges)]
        return torch.stack(means, dim=1)[..., None]


@pytest.mark.parametrize("seconds", [0.1, 1.0, 1.04, 3.3, 600.0])
def test_windows_say_what_one_pass_says_and_never_get_more_than_a_window(seconds):
    frames = max(1, round(seconds * 25))
    audio = torch.randn(1, frames * 640, generator=torch.Generator().manual_seed(0))
    encode = FrameMeans()
    windowed = encoded_in_windows(encode, audio, frames, window=SAMPLE_RATE, overlap=SAMPLE_RATE // 4)
    assert windowed.shape == (1, frames, 1)
    assert max(encode.lengths) <= SAMPLE_RATE
    assert torch.allclose(windowed, FrameMeans()(audio, frames), atol=1e-6)


@pytest.mark.parametrize("fps", [25, 29.97, 30, 60])
def test_windows_follow_any_frame_rate(fps):
    time = torch.arange(20 * SAMPLE_RATE) / SAMPLE_RATE
    frames = round(20 * fps)
    encoded = encoded_in_windows(FrameMeans(), time[None], frames, 3 * SAMPLE_RATE, SAMPLE_RATE)[0, :, 0]
    assert torch.allclose(encoded, (torch.arange(frames) + 0.5) * 20 / frames, atol=0.5 / fps)


def test_what_stands_at_a_windows_end_is_not_used():
    def edged(audio: Tensor, frames: int) -> Tensor:
        features = torch.zeros(1, frames, 1)
        features[:, 1:2], features[:, -2:-1] = 100.0, 100.0
        return features

    encoded = encoded_in_windows(edged, torch.zeros(1, 640 * 500), 500, 640 * 100, 640 * 20)[0, :, 0]
    assert encoded[2:-2].abs().max() == 0


def test_an_overlap_of_more_than_a_third_is_refused():
    with pytest.raises(
        ValueError, match=r"overlap \(2\) must be positive and at most a third of window \(5\)"
    ):
        encoded_in_windows(FrameMeans(), torch.zeros(1, 100), 10, 5, 2)


def test_wav2vec2_in_windows_stays_near_one_pass():
    torch.manual_seed(0)
    windowed = Wav2Vec2Encoder(config=TINY, window_seconds=5.0, overlap_seconds=1.5).eval()
    whole = Wav2Vec2Encoder(config=TINY, window_seconds=60.0).eval()
    whole.load_state_dict(windowed.state_dict())
    audio = torch.randn(1, 12 * SAMPLE_RATE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        apart, size = windowed(audio, 300) - whole(audio, 300), whole(audio, 300).std()
    assert apart.square().mean().sqrt() < 0.2 * size


def test_log_mels_of_a_long_sound_do_not_depend_on_its_pieces(monkeypatch):
    audio = torch.randn(1, 1603 * 160 + 17, generator=torch.Generator().manual_seed(0))
    whole = log_mel(audio)
    monkeypatch.setattr("aniportrait.models.log_mel.PIECE", 100)
    assert torch.allclose(log_mel(audio), whole, atol=1e-5)


def test_features_are_interpolated_between_their_places_and_repeated_beyond_them():
    features = torch.tensor([0.0, 10.0, 40.0])[None, :, None]
    places = torch.tensor([-3.0, 0.5, 1.0, 1.5, 9.0])
    assert sampled(features, places)[0, :, 0].tolist() == [0.0, 5.0, 10.0, 25.0, 40.0]
    assert sampled(features[:, :1], places)[0, :, 0].tolist() == [0.0] * 5
