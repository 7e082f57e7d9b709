"""Speech-like sound with known articulation: a glottal source through moving formants, driven by phoneme targets.

Articulation follows the dominance model of coarticulation (Cohen and Massaro, 1993): each phoneme pulls on the
articulators it cares about and leaves the rest to its neighbours, ahead of its own sound.
"""

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter, sosfilt

from aniportrait.data.schema import SAMPLE_RATE

CONTROL_RATE = 200
"""Articulation values per second."""

ARTICULATORS = ("jaw", "wide", "press", "tuck", "protrude", "front")
"""jaw 0..1 open; wide -1 rounded .. 1 spread; press, tuck, protrude 0..1 (bilabial, labiodental, postalveolar);
front -1..1 of the tongue, which is heard but not seen."""


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


@dataclass(frozen=True)
class _Phoneme:
    """Targets of one sound; None leaves an articulator to the neighbours."""

    targets: tuple[float | None, ...]  # in ARTICULATORS' order
    seconds: float
    voiced: float = 0.0
    noise: float = 0.0
    noise_hz: float = 0.0
    noise_width: float = 0.0
    nasal: bool = False


_VOWELS = {
    "a": _Phoneme((1.0, 0.10, 0, 0, 0, -0.2), 0.15, voiced=1.0),
    "e": _Phoneme((0.45, 0.60, 0, 0, 0, 0.6), 0.13, voiced=0.9),
    "i": _Phoneme((0.18, 1.00, 0, 0, 0, 1.0), 0.12, voiced=0.8),
    "ae": _Phoneme((0.80, 0.75, 0, 0, 0, 0.4), 0.15, voiced=1.0),
    "o": _Phoneme((0.55, -0.70, 0, 0, 0.2, -0.7), 0.15, voiced=0.9),
    "u": _Phoneme((0.20, -1.00, 0, 0, 0.3, -0.9), 0.13, voiced=0.8),
    "schwa": _Phoneme((0.38, None, 0, 0, 0, 0.0), 0.08, voiced=0.8),
}
_CONSONANTS = {
    "m": _Phoneme((0.12, None, 1, 0, 0, None), 0.09, voiced=0.45, nasal=True),
    "b": _Phoneme((0.12, None, 1, 0, 0, None), 0.08, voiced=0.16),
    "p": _Phoneme((0.12, None, 1, 0, 0, None), 0.09),
    "f": _Phoneme((0.15, None, 0, 1, 0, None), 0.10, noise=0.16, noise_hz=6500, noise_width=3500),
    "v": _Phoneme((0.15, None, 0, 1, 0, None), 0.08, voiced=0.4, noise=0.08, noise_hz=6000, noise_width=3500),
    "s": _Phoneme((0.10, 0.35, 0, 0, 0, 0.6), 0.11, noise=0.45, noise_hz=5800, noise_width=1600),
    "sh": _Phoneme((0.14, -0.45, 0, 0, 1, 0.3), 0.12, noise=0.45, noise_hz=3000, noise_width=1100),
    "t": _Phoneme((0.20, None, 0, 0, 0, 0.6), 0.08, noise=0.22, noise_hz=4200, noise_width=2200),
    "k": _Phoneme((0.28, None, 0, 0, 0, -0.5), 0.08, noise=0.20, noise_hz=1900, noise_width=900),
    "n": _Phoneme((0.25, None, 0, 0, 0, 0.6), 0.07, voiced=0.5, nasal=True),
    "l": _Phoneme((0.42, None, 0, 0, 0, 0.2), 0.07, voiced=0.7),
    "w": _Phoneme((0.15, -1.00, 0, 0, 0.2, -0.9), 0.08, voiced=0.6),
}
_PAUSE = _Phoneme((0.0, 0.0, 0.25, 0, 0, 0.0), 0.25)

# What the eye sees moves slower than what the ear hears, and earlier. Seconds, per articulator.
_SEEN_WIDTH = (0.042, 0.055, 0.022, 0.024, 0.040, 0.030)
_SEEN_LEAD = (0.020, 0.045, 0.010, 0.012, 0.030, 0.000)
_HEARD_WIDTH = (0.022, 0.026, 0.010, 0.010, 0.018, 0.022)

_BLOCK = SAMPLE_RATE // CONTROL_RATE


def speak(voice: Voice, samples: int, generator: np.random.Generator) -> Utterance:
    """Improvise `samples` of nonsense speech in a voice."""
    steps = -(-samples // _BLOCK)
    script = _script(voice, steps, generator)
    seen = _coarticulate(script, _SEEN_WIDTH, _SEEN_LEAD)
    heard = _coarticulate(script, _HEARD_WIDTH, (0.0,) * 6)
    stress = _smooth(script.stress, 0.035)
    contour = _pitch_contour(voice, script, generator)
    audio = _sound(voice, script, heard, contour, generator)[:samples]
    return Utterance(audio.astype(np.float32), seen, stress, contour)


@dataclass(frozen=True)
class _Script:
    """The phonemes laid out on the control grid.

    Args:
        targets, weights: (m, 6) articulator targets and how much each phoneme insists on them.
        voiced, noise, noise_hz, noise_width, nasal, stress: (m,).
        accents: (m,) one pulse per stressed syllable, for the pitch.
    """

    targets: np.ndarray
    weights: np.ndarray
    voiced: np.ndarray
    noise: np.ndarray
    noise_hz: np.ndarray
    noise_width: np.ndarray
    nasal: np.ndarray
    stress: np.ndarray
    accents: np.ndarray


def _script(voice: Voice, steps: int, generator: np.random.Generator) -> _Script:
    rows: list[tuple[_Phoneme, int, float, float]] = []  # phoneme, steps, stress, accent
    total = 0

    def say(phoneme: _Phoneme, stress: float, accent: float = 0.0) -> None:
        nonlocal total
        length = phoneme.seconds / voice.speed * generator.uniform(0.8, 1.25)
        count = max(int(round(length * CONTROL_RATE)), 6)
        rows.append((phoneme, count, stress, accent))
        total += count

    vowels, consonants = list(_VOWELS.values()), list(_CONSONANTS.values())
    say(_PAUSE, 0.0)
    while total < steps:
        for _ in range(int(generator.integers(3, 9))):
            stress = float(generator.choice([0.6, 0.8, 1.1], p=[0.3, 0.4, 0.3])) * generator.uniform(
                0.92, 1.08
            )
            say(consonants[int(generator.integers(len(consonants)))], stress)
            say(vowels[int(generator.integers(len(vowels)))], stress, float(stress > 0.95))
            if generator.random() < 0.3:
                say(consonants[int(generator.integers(len(consonants)))], stress * 0.9)
        say(_PAUSE, 0.0)

    counts = [count for _, count, _, _ in rows]

    def laid_out(values: list) -> np.ndarray:
        return np.repeat(np.asarray(values, dtype=np.float64), counts, axis=0)[:steps]

    phonemes = [row[0] for row in rows]
    return _Script(
        targets=laid_out([[0.0 if t is None else t for t in p.targets] for p in phonemes]),
        weights=laid_out([[0.04 if t is None else _insistence(t) for t in p.targets] for p in phonemes]),
        voiced=laid_out([p.voiced for p in phonemes]),
        noise=_bursts(phonemes, counts)[:steps],
        noise_hz=laid_out([p.noise_hz or 3000.0 for p in phonemes]),
        noise_width=laid_out([p.noise_width or 3000.0 for p in phonemes]),
        nasal=laid_out([float(p.nasal) for p in phonemes]),
        stress=laid_out([row[2] for row in rows]),
        accents=laid_out([row[3] for row in rows]),
    )


def _insistence(target: float) -> float:
    """Extreme targets are defended, resting ones give way."""
    return 0.6 + 1.4 * abs(target)


def _bursts(phonemes: list[_Phoneme], counts: list[int]) -> np.ndarray:
    """Noise level per control step: fricatives hiss throughout, stops are silent and then burst. (m,)"""
    stops = {id(_CONSONANTS["t"]), id(_CONSONANTS["k"])}
    lips = {id(_CONSONANTS["p"]): 0.10, id(_CONSONANTS["b"]): 0.06}
    parts = []
    for phoneme, count in zip(phonemes, counts, strict=True):
        level = np.full(count, phoneme.noise)
        if id(phoneme) in stops:
            level[: count - 5] = 0.0
        elif id(phoneme) in lips:
            level[count - 4 :] = lips[id(phoneme)]
        parts.append(level)
    return np.concatenate(parts)


def _coarticulate(script: _Script, widths: tuple[float, ...], leads: tuple[float, ...]) -> np.ndarray:
    """Blend the targets by dominance: each articulator with its own width and anticipation, seconds. (m, 6)"""
    channels = []
    for k, (width, lead) in enumerate(zip(widths, leads, strict=True)):
        weight = script.weights[:, k]
        pulled = _smooth(weight * script.targets[:, k], width) / _smooth(weight, width)
        shift = int(round(lead * CONTROL_RATE))
        channels.append(np.concatenate([pulled[shift:], np.repeat(pulled[-1:], shift)]))
    return np.stack(channels, axis=1)


def _smooth(signal: np.ndarray, width: float) -> np.ndarray:
    """Gaussian smoothing of (m,) with standard deviation `width` seconds, edges held."""
    sigma = width * CONTROL_RATE
    reach = int(np.ceil(3 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.convolve(np.pad(signal, reach, mode="edge"), kernel / kernel.sum(), mode="valid")


def _pitch_contour(voice: Voice, script: _Script, generator: np.random.Generator) -> np.ndarray:
    """Octaves above the mean pitch: accents on stressed syllables, slow drift, a little jitter. (m,)"""
    steps = len(script.stress)
    accents = _smooth(script.accents, 0.05) - 0.3
    drift = _smooth(generator.standard_normal(steps + 200), 0.25)[:steps] * 4.0
    jitter = _smooth(generator.standard_normal(steps), 0.012) * 0.02
    return voice.lively * (0.75 * accents + 0.35 * drift) + jitter


def _sound(
    voice: Voice, script: _Script, heard: np.ndarray, contour: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Source and noise through one bank of resonators per control step, filter states carried over. (m * block,)"""
    steps = len(contour)
    closed = np.clip(heard[:, 2] * 1.6 - 0.5, 0.0, 1.0)  # what lips that touch let through
    loud = _smooth(script.voiced, 0.010) * (0.25 + 0.75 * _smooth(script.stress, 0.03)) * (1 - 0.75 * closed)
    noise_level = _smooth(script.noise, 0.006)
    pulses = _glottal(voice, np.repeat(contour, _BLOCK), generator)
    breath = generator.standard_normal(steps * _BLOCK)
    source = (pulses + voice.breath * 0.25 * breath) * _at_sample_rate(loud)
    hiss = generator.standard_normal(steps * _BLOCK) * _at_sample_rate(noise_level)

    formants, widths = _formants(voice, heard, _smooth(script.nasal, 0.010))
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
    mixed = 0.30 * voiced + 0.55 * fricative
    return np.clip(voice.loudness * mixed + room, -1.0, 1.0)


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
