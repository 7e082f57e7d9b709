"""The sound of an invented speaker: a glottal source and noise through resonators that follow the articulation."""

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter, sosfilt

from aniportrait.data.schema import SAMPLE_RATE
from aniportrait.data.synthetic_phonemes import (
    CONTROL_RATE,
    HEARD_WIDTH,
    SEEN_LEAD,
    SEEN_WIDTH,
    Script,
    coarticulated,
    improvised,
    smoothed,
)

_BLOCK = SAMPLE_RATE // CONTROL_RATE


@dataclass(frozen=True)
class Voice:
    """How one person sounds.

    Args:
        pitch: mean fundamental, Hz.
        tract: formant scale; above 1 for a shorter vocal tract.
        tilt: spectral slope of the source, poles per sample of its low pass (0 bright .. 0.95 dull).
        breath: aspiration noise beside the pulses, 0..1.
        loudness: amplitude of a stressed vowel.
        speed: syllable rate relative to the average.
        lively: depth of the pitch contour, octaves.
        hiss: level of the room's noise.
    """

    pitch: float
    tract: float
    tilt: float
    breath: float
    loudness: float
    speed: float
    lively: float
    hiss: float


@dataclass(frozen=True)
class Utterance:
    """What was said: sound, and what the mouth did for it.

    Args:
        audio: (n,) float32 in [-1, 1] at SAMPLE_RATE.
        articulation: (m, 6) the mouth's ARTICULATORS at CONTROL_RATE, coarticulated.
        stress: (m,) prosodic strength, about 0 in pauses to 1.15; opens the jaw and raises the voice.
        pitch: (m,) octaves above the voice's mean.
    """

    audio: np.ndarray
    articulation: np.ndarray
    stress: np.ndarray
    pitch: np.ndarray


def speak(voice: Voice, samples: int, generator: np.random.Generator) -> Utterance:
    """Improvise `samples` of nonsense speech in a voice."""
    steps = -(-samples // _BLOCK)
    script = improvised(voice.speed, steps, generator)
    seen = coarticulated(script, SEEN_WIDTH, SEEN_LEAD)
    heard = coarticulated(script, HEARD_WIDTH, (0.0,) * 6)
    stress = smoothed(script.stress, 0.035)
    contour = _pitch_contour(voice, script, generator)
    audio = _sound(voice, script, heard, contour, generator)[:samples]
    return Utterance(audio.astype(np.float32), seen, stress, contour)


def _pitch_contour(voice: Voice, script: Script, generator: np.random.Generator) -> np.ndarray:
    """Octaves above the mean pitch: accents on stressed syllables, slow drift, a little jitter. (m,)"""
    steps = len(script.stress)
    accents = smoothed(script.accents, 0.05) - 0.3
    drift = smoothed(generator.standard_normal(steps + 200), 0.25)[:steps] * 4.0
    jitter = smoothed(generator.standard_normal(steps), 0.012) * 0.02
    return voice.lively * (0.75 * accents + 0.35 * drift) + jitter


def _sound(
    voice: Voice, script: Script, heard: np.ndarray, contour: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Source and noise through one bank of resonators per control step, filter states carried over. (m * block,)"""
    steps = len(contour)
    closed = np.clip(heard[:, 2] * 1.6 - 0.5, 0.0, 1.0)  # what lips that touch let through
    loud = (
        smoothed(script.voiced, 0.010) * (0.25 + 0.75 * smoothed(script.stress, 0.03)) * (1 - 0.75 * closed)
    )
    noise_level = smoothed(script.noise, 0.006)
    pulses = _glottal(voice, np.repeat(contour, _BLOCK), generator)
    breath = generator.standard_normal(steps * _BLOCK)
    source = (pulses + voice.breath * 0.25 * breath) * _at_sample_rate(loud)
    hiss = generator.standard_normal(steps * _BLOCK) * _at_sample_rate(noise_level)

    formants, widths = _formants(voice, heard, smoothed(script.nasal, 0.010))
    throat = _resonators(formants, widths)
    front = _resonators(
        np.minimum(script.noise_hz * voice.tract**0.5, 7300.0)[:, None], script.noise_width[:, None]
    )
    voiced = np.empty(steps * _BLOCK)
    fricative = np.empty(steps * _BLOCK)
    throat_state = np.zeros((throat.shape[1], 2))
    front_state = np.zeros((1, 2))
    for step in range(steps):
        at = slice(step * _BLOCK, (step + 1) * _BLOCK)
        voiced[at], throat_state = sosfilt(throat[step], source[at], zi=throat_state)
        fricative[at], front_state = sosfilt(front[step], hiss[at], zi=front_state)
    room = generator.standard_normal(steps * _BLOCK) * voice.hiss
    level, slope = 2.0 ** generator.uniform(-1.2, 0.3), generator.uniform(-0.5, 0.5)
    mixed = level * voice.loudness * (0.17 * voiced + 0.42 * fricative) + room
    return np.tanh(lfilter([1.0, slope], [1.0 + abs(slope)], mixed))  # every microphone differs


def _at_sample_rate(signal: np.ndarray) -> np.ndarray:
    """(m,) control values to (m * block,) samples, linearly."""
    at = (np.arange(len(signal) * _BLOCK) + 0.5) / _BLOCK - 0.5
    return np.interp(at, np.arange(len(signal)), signal)


def _glottal(voice: Voice, octaves: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The derivative of a pulsed air flow (Rosenberg's shape), low-passed by the voice's tilt. (n,)"""
    frequency = voice.pitch * 2.0**octaves
    phase = (np.cumsum(frequency) / SAMPLE_RATE + generator.random()) % 1.0
    opening = np.where(phase < 0.4, np.sin(np.pi * phase / 0.4) * 0.35, 0.0)
    closing = np.where((phase >= 0.4) & (phase < 0.56), -np.sin(np.pi * (phase - 0.4) / 0.32), 0.0)
    flow = lfilter([1 - voice.tilt], [1, -voice.tilt], opening + closing)
    return np.asarray(flow) / np.std(flow)


def _formants(voice: Voice, heard: np.ndarray, nasal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies and bandwidths (m, 4) in Hz from what the articulators do."""
    jaw, wide, press, tuck, protrude, front = heard.T
    rounded, spread = np.clip(-wide, 0, None), np.clip(wide, 0, None)
    first = (270 + 560 * np.clip(jaw, 0, 1) ** 0.85) * (1 - 0.25 * np.clip(press, 0, 1))
    second = 1450 + 720 * front - 330 * rounded + 130 * spread - 200 * press * (1 - 0.5 * nasal) - 120 * tuck
    third = 2550 + 250 * np.clip(front, 0, None) + 120 * spread - 320 * rounded - 260 * protrude - 150 * press
    fourth = np.full_like(first, 3550.0) - 150 * rounded
    frequencies = np.stack([first, np.maximum(second, first + 250), third, fourth], axis=1) * voice.tract
    frequencies[:, 0] = frequencies[:, 0] * (1 - nasal) + 270 * voice.tract**0.5 * nasal
    widths = np.array([70.0, 100.0, 150.0, 220.0]) * (1 + 1.2 * nasal[:, None])
    return np.minimum(frequencies, 7000.0), widths


def _resonators(frequencies: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Second-order sections (m, k, 6) of unit gain at zero frequency (Klatt, 1980)."""
    radius = np.exp(-np.pi * widths / SAMPLE_RATE)
    b = 2 * radius * np.cos(2 * np.pi * frequencies / SAMPLE_RATE)
    c = -(radius**2)
    sections = np.zeros((*frequencies.shape, 6))
    sections[..., 0] = 1 - b - c
    sections[..., 3] = 1.0
    sections[..., 4] = -b
    sections[..., 5] = -c
    return sections
