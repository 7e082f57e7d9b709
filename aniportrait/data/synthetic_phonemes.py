"""What an invented speaker says: phonemes in time, and the articulators they pull on.

Articulation follows the dominance model of coarticulation (Cohen and Massaro, 1993): each phoneme pulls on the
articulators it cares about and leaves the rest to its neighbours, ahead of its own sound.
"""

from dataclasses import dataclass

import numpy as np

CONTROL_RATE = 200
"""Articulation values per second."""

ARTICULATORS = ("jaw", "wide", "press", "tuck", "protrude", "front")
"""jaw 0..1 open; wide -1 rounded .. 1 spread; press, tuck, protrude 0..1 (bilabial, labiodental, postalveolar);
front -1..1 of the tongue, which is heard but not seen."""


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
    burst: int = 0  # control steps at the end that the noise is limited to; 0 for noise throughout


_VOWELS = {
    "a": _Phoneme((1.0, 0.10, 0, 0, 0, -0.2), 0.15, voiced=0.95),
    "e": _Phoneme((0.45, 0.60, 0, 0, 0, 0.6), 0.13, voiced=0.95),
    "i": _Phoneme((0.18, 1.00, 0, 0, 0, 1.0), 0.12, voiced=1.0),
    "ae": _Phoneme((0.80, 0.75, 0, 0, 0, 0.4), 0.15, voiced=0.95),
    "o": _Phoneme((0.55, -0.70, 0, 0, 0.2, -0.7), 0.15, voiced=1.0),
    "u": _Phoneme((0.20, -1.00, 0, 0, 0.3, -0.9), 0.13, voiced=1.05),
    "schwa": _Phoneme((0.38, None, 0, 0, 0, 0.0), 0.08, voiced=0.85),
}
_CONSONANTS = {
    "m": _Phoneme((0.12, None, 1, 0, 0, None), 0.09, voiced=0.7, nasal=True),
    "b": _Phoneme((0.12, None, 1, 0, 0, None), 0.08, voiced=0.2, noise=0.06, burst=4),
    "p": _Phoneme((0.12, None, 1, 0, 0, None), 0.09, noise=0.10, burst=4),
    "f": _Phoneme((0.15, None, 0, 1, 0, None), 0.10, noise=0.16, noise_hz=6500, noise_width=3500),
    "v": _Phoneme(
        (0.15, None, 0, 1, 0, None), 0.08, voiced=0.55, noise=0.08, noise_hz=6000, noise_width=3500
    ),
    "s": _Phoneme((0.10, 0.35, 0, 0, 0, 0.6), 0.11, noise=0.45, noise_hz=5800, noise_width=1600),
    "sh": _Phoneme((0.14, -0.45, 0, 0, 1, 0.3), 0.12, noise=0.45, noise_hz=3000, noise_width=1100),
    "t": _Phoneme((0.20, None, 0, 0, 0, 0.6), 0.08, noise=0.22, noise_hz=4200, noise_width=2200, burst=5),
    "k": _Phoneme((0.28, None, 0, 0, 0, -0.5), 0.08, noise=0.20, noise_hz=1900, noise_width=900, burst=5),
    "n": _Phoneme((0.25, None, 0, 0, 0, 0.6), 0.07, voiced=0.7, nasal=True),
    "l": _Phoneme((0.42, None, 0, 0, 0, 0.2), 0.07, voiced=0.85),
    "w": _Phoneme((0.15, -1.00, 0, 0, 0.2, -0.9), 0.08, voiced=0.85),
}
_PAUSE = _Phoneme((0.0, 0.0, 0.25, 0, 0, 0.0), 0.25)

# What the eye sees moves slower than what the ear hears, and earlier. Seconds, per articulator.
SEEN_WIDTH = (0.042, 0.055, 0.022, 0.024, 0.040, 0.030)
SEEN_LEAD = (0.020, 0.045, 0.010, 0.012, 0.030, 0.000)
HEARD_WIDTH = (0.022, 0.026, 0.010, 0.010, 0.018, 0.022)


@dataclass(frozen=True)
class Script:
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


def improvised(speed: float, steps: int, generator: np.random.Generator) -> Script:
    """Nonsense words with pauses between them; `speed` is the syllable rate relative to the average."""
    rows: list[tuple[_Phoneme, int, float, float]] = []  # phoneme, steps, stress, accent
    total = 0

    def say(phoneme: _Phoneme, stress: float, accent: float = 0.0) -> None:
        nonlocal total
        length = phoneme.seconds / speed * generator.uniform(0.8, 1.25)
        count = max(int(round(length * CONTROL_RATE)), 6)
        rows.append((phoneme, count, stress, accent))
        total += count

    vowels, consonants = list(_VOWELS.values()), list(_CONSONANTS.values())
    say(_PAUSE, 0.0)
    while total < steps:
        for _ in range(int(generator.integers(3, 9))):
            stress = float(generator.choice([0.5, 0.8, 1.15], p=[0.35, 0.3, 0.35])) * generator.uniform(
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
    return Script(
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
    parts = []
    for phoneme, count in zip(phonemes, counts, strict=True):
        level = np.full(count, phoneme.noise)
        if phoneme.burst:
            level[: count - phoneme.burst] = 0.0
        parts.append(level)
    return np.concatenate(parts)


def coarticulated(script: Script, widths: tuple[float, ...], leads: tuple[float, ...]) -> np.ndarray:
    """Blend the targets by dominance: each articulator with its own width and anticipation, seconds. (m, 6)"""
    channels = []
    for k, (width, lead) in enumerate(zip(widths, leads, strict=True)):
        weight = script.weights[:, k]
        pulled = smoothed(weight * script.targets[:, k], width) / smoothed(weight, width)
        shift = int(round(lead * CONTROL_RATE))
        channels.append(np.concatenate([pulled[shift:], np.repeat(pulled[-1:], shift)]))
    return np.stack(channels, axis=1)


def smoothed(signal: np.ndarray, width: float) -> np.ndarray:
    """Gaussian smoothing of (m,) with standard deviation `width` seconds, edges held."""
    sigma = width * CONTROL_RATE
    reach = int(np.ceil(3 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.convolve(np.pad(signal, reach, mode="edge"), kernel / kernel.sum(), mode="valid")
