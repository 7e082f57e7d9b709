"""The packaged speech encoder: found without importing its package, cached, in windows near one pass."""

import copy
import importlib.metadata

import numpy as np
import pytest
import torch

from aniportrait.data.sound import read_audio
from aniportrait.models import moonshine_encoder
from aniportrait.models.log_mel import SAMPLE_RATE
from aniportrait.models.moonshine_encoder import PACKAGE, MoonshineEncoder
from aniportrait.models.pretrained import MissingWeightsError
from aniportrait.models.published_audio2pose import PublishedAudio2Pose
from aniportrait.pipelines.published_motion import PublishedMotion


@pytest.fixture(scope="module")
def encoder():
    pytest.importorskip("onnxruntime")
    try:
        return MoonshineEncoder()
    except MissingWeightsError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def speech(shared):
    return torch.from_numpy(read_audio(shared / "data" / "audio" / "rd_radio31.wav"))[None]


def test_without_its_package_the_encoder_says_what_to_install(monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", absent)
    with pytest.raises(MissingWeightsError, match=f"pip package {PACKAGE}: run `make moonshine`"):
        MoonshineEncoder()


def test_a_path_that_is_no_file_is_named():
    with pytest.raises(MissingWeightsError, match=r"audio_encoder.path=absent.ort is no file"):
        MoonshineEncoder("absent.ort")


@pytest.mark.parametrize("samples", [1, 1600, 40_000])
def test_every_length_of_sound_has_finite_features(encoder, samples):
    features = encoder(torch.zeros(2, samples), 7)
    assert features.shape == (2, 7, 288)
    assert features.isfinite().all()


def test_loudness_does_not_matter_and_a_batch_is_its_clips(encoder, speech):
    clip = speech[:, :SAMPLE_RATE]
    batch = encoder(torch.cat((clip, 0.25 * clip)), 25)
    assert torch.allclose(batch[0], batch[1], atol=0.2)
    assert torch.equal(batch[:1], encoder(clip, 25))


def test_a_later_sound_makes_later_features(encoder, speech):
    """Frame times are those of the encoder's own convolutions, so moving the sound moves the features as much."""
    clip = speech[:, : 3 * SAMPLE_RATE]
    later = torch.nn.functional.pad(clip, (8 * 384, 0))[:, : clip.shape[1]]
    frames = round(3 * SAMPLE_RATE / 384)
    here, there = encoder(clip, frames)[0], encoder(later, frames)[0]

    def agreement(shift):
        return torch.cosine_similarity(here[10 : frames - 20], there[10 + shift : frames - 20 + shift]).mean()

    assert max(range(4, 13), key=agreement) == 8


def test_windows_stay_near_one_pass(encoder, speech):
    """Attention hears the whole pass, so features depend on it: half their spread here, a seventh of it at the lips
    of a trained head (experiments/audio2mesh/README.md)."""
    whole, windowed = (
        MoonshineEncoder(window_seconds=60.0),
        MoonshineEncoder(window_seconds=4.0, overlap_seconds=1.3),
    )
    one, several = whole(speech, 200), windowed(speech, 200)
    assert (one - several).square().mean().sqrt() < 0.6 * one.std()
    assert torch.cosine_similarity(one, several, dim=-1).mean() > 0.8


def test_a_copy_opens_its_own_session_and_what_was_encoded_is_kept(encoder, speech):
    clip = speech[:, :SAMPLE_RATE]
    first = encoder(clip, 25)
    twin = copy.deepcopy(encoder)
    assert torch.equal(twin(clip, 25), first)
    encoder._opened, opened = None, encoder._opened  # what is kept needs no session
    assert torch.equal(encoder(clip, 25), first)
    assert encoder._opened is None
    encoder._opened = opened
    assert np.isfinite(first.numpy()).all()


def test_the_published_head_motion_can_hear_through_it(encoder, speech):
    audio2pose = PublishedAudio2Pose(encoder, latent_dim=16, identities=3, layers=1, heads=2).eval()
    motion = PublishedMotion(audio2pose, chunk_frames=10)(speech[:, :SAMPLE_RATE], 25, torch.Generator())
    assert motion.shape == (25, 6)


def test_a_sound_is_encoded_once_in_a_batch_and_by_one_session(encoder, speech, monkeypatch):
    fresh, heard, opened = copy.deepcopy(encoder), [], []
    encode, open_session = moonshine_encoder._encoded, moonshine_encoder._session
    monkeypatch.setattr(moonshine_encoder, "_encoded", lambda *given: heard.append(1) or encode(*given))
    monkeypatch.setattr(moonshine_encoder, "_session", lambda file: opened.append(1) or open_session(file))
    clip, other = speech[:, :SAMPLE_RATE], speech[:, SAMPLE_RATE : 2 * SAMPLE_RATE]
    features = fresh(torch.cat((clip, other, clip, clip)), 25)
    assert (len(heard), len(opened)) == (2, 1)
    assert torch.equal(features[0], features[3])
    assert torch.equal(features[1:2], fresh(other, 25))
