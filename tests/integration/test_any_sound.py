"""Any sound gives a face and a head for exactly as long as it lasts; speech moves the mouth, silence lets it rest."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from entries import TINY, composed
from torch import Generator

from aniportrait.checkpoints.store import open_weights
from aniportrait.data.sound import read_audio
from aniportrait.data.synthetic import SyntheticTalkers
from aniportrait.evaluation.mouth_opening_correlation import mouth_opening
from aniportrait.face.canonical import load_canonical_face
from aniportrait.models.audio2pose import POSE_LIMIT
from aniportrait.pipelines.head_motion import NetworkMotion, PredictedMotion, frame_count
from aniportrait.pipelines.saved_networks import load_network
from aniportrait.pipelines.speech_offsets import SpeechOffsets

ROOT = Path(__file__).parents[2]
RATE = 16_000
FRAME_RATES = (25.0, 29.97, 30.0, 60.0)
FURTHEST = 6.0
"""cm no vertex of a speaking face is moved by."""


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("talkers")
    SyntheticTalkers(identities=4, clips_per_identity=1, seconds=3.0, workers=1).write(folder)
    return folder


@pytest.fixture(scope="module", params=["log_mel", "moonshine"])
def networks(request, shards, tmp_path_factory):
    """audio2mesh and audio2pose after a minute of training on drawn talkers."""
    if request.param == "moonshine":
        pytest.importorskip("onnxruntime", reason="make moonshine was not run")
    folder = tmp_path_factory.mktemp("weights")
    for experiment, steps in (("audio2mesh", 80), ("audio2pose", 20)):
        settings = [
            f"experiment={experiment}",
            *TINY,
            "data=shards",
            f"data.folder={shards}",
            f"max_steps={steps}",
            f"audio_encoder={request.param}",
        ]
        command = [
            sys.executable,
            str(ROOT / "train.py"),
            *settings,
            f"out={folder}/{experiment}",
            f"export={folder}/all",
        ]
        finished = subprocess.run(command, cwd=shards, capture_output=True, text=True, timeout=600)
        assert finished.returncode == 0, finished.stderr
    weights = open_weights(folder / "all")
    with composed("evaluate", f"weights={folder}") as config:
        return tuple(
            load_network(weights, name, config.paths.pretrained) for name in ("audio2mesh", "audio2pose")
        )


def spoken(networks, audio: np.ndarray, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """Offsets (f, 468, 3) and head poses (f, 6) of a sound, checked for what must hold for every sound."""
    audio2mesh, audio2pose = networks
    sound, frames = torch.from_numpy(audio)[None], frame_count(len(audio), fps)
    offsets = SpeechOffsets(audio2mesh, 25.0, sound, fps)(0, frames)
    head_pose = NetworkMotion(PredictedMotion(audio2pose), 25.0)(
        sound, frames, fps, Generator().manual_seed(0)
    )
    assert offsets.shape == (frames, 468, 3)
    assert head_pose.shape == (frames, 6)
    assert frames == max(1, round(len(audio) / RATE * fps))
    assert np.isfinite(offsets).all()
    assert np.abs(offsets).max() < FURTHEST
    assert (np.abs(head_pose) <= np.array(POSE_LIMIT) + 1e-6).all()
    return offsets, head_pose


def movement(offsets: np.ndarray) -> float:
    """Standard deviation of the mouth's opening, cm, of the canonical face."""
    rest = torch.from_numpy(load_canonical_face().vertices)
    return float(mouth_opening(rest + torch.from_numpy(offsets)).std())


def tone(seconds: float) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * 220 * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


@pytest.mark.slow
@pytest.mark.shared
def test_every_sound_and_cuts_of_it_give_faces_of_its_length(networks, shared):
    files = sorted((shared / "data" / "audio").glob("*.wav"))
    assert files
    for file in files:
        audio = read_audio(file)
        for fps in FRAME_RATES:
            spoken(networks, audio, fps)
        for seconds, fps in zip((0.1, 0.33, 1.0, 2.71), FRAME_RATES, strict=True):
            spoken(networks, audio[: round(seconds * RATE)], fps)


@pytest.mark.slow
@pytest.mark.shared
def test_speech_moves_the_mouth_and_silence_lets_it_rest(networks, shared):
    speech = read_audio(shared / "data" / "audio" / "rd_radio31.wav")
    moving = movement(spoken(networks, speech, 25.0)[0])
    assert moving > 0.05
    said = spoken(networks, speech[: 3 * RATE], 25.0)[0]
    hushes = (np.zeros(4 * RATE, np.float32), faint_noise(4.0))
    for hush in hushes:
        assert np.abs(spoken(networks, hush, 25.0)[0]).max() == 0, "not open, and not moving"
        paused = np.concatenate((speech[: 3 * RATE], hush))
        offsets = spoken(networks, paused, 25.0)[0]
        assert np.abs(offsets[95:]).max() == 0  # the first 0.8 seconds after the last word may still close
        assert movement(offsets[:75]) > 0.8 * movement(said)


def faint_noise(seconds: float) -> np.ndarray:
    """60 dB below full scale."""
    return 1e-3 * np.random.default_rng(0).standard_normal(round(seconds * RATE)).astype(np.float32)


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("fps", FRAME_RATES)
def test_ten_minutes_of_speech_and_of_tone_stay_bounded(networks, shared, fps):
    speech = read_audio(shared / "data" / "audio" / "rd_radio31.wav")
    whole = np.resize(speech, 600 * RATE)
    offsets, head_pose = spoken(networks, whole, fps)
    assert movement(offsets[-round(8 * fps) :]) > 0.5 * movement(offsets[: round(8 * fps)])
    assert head_pose[-len(head_pose) // 2 :, :3].std() > 0.1  # the motion has not died away
    if fps == 25.0:
        assert movement(spoken(networks, tone(600.0), fps)[0][100:-100]) < 0.5 * movement(offsets)
        assert np.abs(spoken(networks, np.zeros(600 * RATE, np.float32), fps)[0]).max() == 0


@pytest.mark.slow
def test_tones_and_silence_of_every_length_have_faces(networks):
    for seconds in (
        0.1,
        0.15,
        0.5,
        5.0,
        10.0,
        15.0,
    ):  # whole multiples of five seconds lost the original its end
        for audio in (tone(seconds), np.zeros(round(seconds * RATE), np.float32)):
            for fps in FRAME_RATES:
                spoken(networks, audio, fps)
