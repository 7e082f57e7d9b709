"""Sound features: finite for any sound, aligned with the frames, independent of level."""

import math

import pytest
import torch

from aniportrait.models.audio_encoder import LogMelEncoder, Wav2Vec2Encoder, zero_mean_unit_variance
from aniportrait.models.log_mel import MEL_BINS, frame_features, log_mel, normalised_log_mel, warped_mel_axis

TINY_WAV2VEC2 = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}


def tone(hertz, seconds=1.0):
    return torch.sin(2 * math.pi * hertz * torch.arange(int(16_000 * seconds)) / 16_000)[None]


@pytest.mark.parametrize("samples", [0, 1, 399, 1600, 16_001])
def test_a_log_mel_step_stands_for_every_ten_milliseconds(samples):
    assert log_mel(torch.zeros(2, samples)).shape == (2, max(1, math.ceil(samples / 160)), MEL_BINS)


def test_a_higher_tone_lights_a_higher_band():
    bands = [int(log_mel(tone(hertz)).mean(dim=1).argmax()) for hertz in (150, 400, 1000, 2500, 6000)]
    assert bands == sorted(set(bands))


def test_a_click_is_heard_at_its_own_time():
    audio = torch.zeros(1, 16_000)
    audio[0, 8_000] = 1.0
    assert int(log_mel(audio).sum(dim=2).argmax()) == 50


def test_normalised_features_do_not_depend_on_level():
    audio = torch.randn(1, 16_000, generator=torch.Generator().manual_seed(0)) * torch.linspace(0, 1, 16_000)
    assert torch.allclose(normalised_log_mel(audio), normalised_log_mel(0.01 * audio), atol=1e-3)


def test_digital_silence_gives_zeros_rather_than_nan():
    assert normalised_log_mel(torch.zeros(1, 16_000)).abs().max() < 1e-4


def test_frame_features_hold_each_frame_with_its_neighbours():
    mel = torch.arange(5.0)[None, :, None].repeat_interleave(4, dim=1)
    windows = frame_features(mel, 5, context=3)[0]
    assert windows.tolist() == [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 4]]


def test_an_even_context_has_no_middle_frame():
    with pytest.raises(ValueError, match=r"context \(4\) must be odd"):
        frame_features(torch.zeros(1, 8, 2), 2, context=4)


def test_no_warp_and_no_shift_leave_the_mel_axis_alone():
    mel = torch.randn(2, 5, MEL_BINS)
    assert torch.equal(warped_mel_axis(mel, 0.0, 0.0), mel)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "audio", [torch.zeros(1, 1600), torch.zeros(1, 16_000), 1e-6 * tone(200), tone(300, 0.1)]
)
def test_encoders_give_finite_features_for_silence_and_a_tenth_of_a_second(audio, training):
    for encoder in (LogMelEncoder(width=16), Wav2Vec2Encoder(config=TINY_WAV2VEC2)):
        features = encoder.train(training)(audio, 3)
        assert features.shape == (1, 3, encoder.width)
        assert features.isfinite().all()


@pytest.mark.parametrize("frames", [10, 25, 30, 60, 250])
def test_log_mel_encoder_works_at_any_frame_rate(frames):
    assert LogMelEncoder(width=8)(tone(200), frames).shape == (1, frames, 8)


def test_log_mel_encoder_hears_locally():
    """What happens in second four cannot change the features of second one."""
    encoder = LogMelEncoder(width=8, layers=2).eval()
    noise = torch.randn(1, 64_000, generator=torch.Generator().manual_seed(1))
    other = noise.clone()
    other[:, 48_000:] = other[:, 48_000:].flip(-1)
    ours, theirs = (encoder(audio, 100)[:, :60] for audio in (noise, other))
    assert torch.allclose(ours, theirs, atol=5e-2)


def test_augmentation_acts_in_training_only():
    encoder = LogMelEncoder(width=8, dropout=0.0)
    audio = torch.randn(1, 16_000)
    assert not torch.equal(encoder(audio, 25), encoder(audio, 25))
    encoder.eval()
    assert torch.equal(encoder(audio, 25), encoder(audio, 25))


def test_wav2vec2_front_end_is_frozen_and_the_rest_is_not():
    encoder = Wav2Vec2Encoder(config=TINY_WAV2VEC2)
    trainable = {name.split(".")[1] for name, p in encoder.named_parameters() if p.requires_grad}
    assert "feature_extractor" not in trainable
    assert {"feature_projection", "encoder"} <= trainable
    frozen = Wav2Vec2Encoder(config=TINY_WAV2VEC2, freeze_all=True)
    assert not any(p.requires_grad for p in frozen.parameters())


def test_wav2vec2_hears_the_same_at_any_level():
    encoder = Wav2Vec2Encoder(config=TINY_WAV2VEC2).eval()
    audio = torch.randn(1, 16_000)
    assert torch.allclose(encoder(audio, 25), encoder(0.05 * audio + 0.1, 25), atol=1e-3)


def test_normalised_audio_has_zero_mean_and_unit_variance_per_clip():
    audio = zero_mean_unit_variance(torch.randn(3, 1000) * torch.tensor([[0.1], [1.0], [5.0]]) + 2)
    assert torch.allclose(audio.mean(dim=1), torch.zeros(3), atol=1e-5)
    assert torch.allclose(audio.std(dim=1, correction=0), torch.ones(3), atol=1e-3)


@pytest.mark.parametrize("path", ["/nowhere/wav2vec2-base-960h", "./absent", "absent"])
def test_missing_wav2vec2_weights_are_named_with_their_setting(path):
    with pytest.raises(FileNotFoundError, match=r"audio_encoder\.path.*facebook/wav2vec2-base-960h") as error:
        Wav2Vec2Encoder(path)
    assert path in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_said_does_not_depend_on_how_long_a_pause_follows():
    said = torch.cat([tone(hertz, 0.2) for hertz in (200, 900, 3000, 400, 5000)], dim=-1)
    alone = normalised_log_mel(said)
    for hush in (torch.zeros_like(said), 1e-3 * torch.randn(said.shape)):
        followed = normalised_log_mel(torch.cat((said, hush, hush, hush), dim=-1))
        assert (followed[:, : alone.shape[1] - 2] - alone[:, :-2]).abs().mean() < 0.1


def test_long_sound_is_encoded_in_pieces_that_cannot_be_told(monkeypatch):
    encoder = LogMelEncoder(width=16, layers=3).eval()
    audio = torch.randn(1, 16_000 * 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = encoder(audio, 75)
        for piece in (7, 30, 149):
            monkeypatch.setattr("aniportrait.models.audio_encoder.PIECE", piece)
            assert torch.allclose(encoder(audio, 75), whole, atol=1e-5)


def test_autocast_leaves_energies_alone():
    exact = log_mel(tone(440))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(log_mel(tone(440)), exact)
