"""Whether sound and lips belong together, and by how much they are apart: measured on landmarks, without any
trained weights."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from aniportrait.data.schema import SAMPLE_RATE
from aniportrait.face.topology import INNER_LIP_PAIRS, MOUTH_CORNERS

LONGEST_LAG = 1.0
"""Seconds searched to either side; the lags away from the best one say what chance gives."""
NATURAL_LEAD = 0.04
"""Seconds by which lips precede their sound: the median over 27 filmed clips that are in sync."""
NEAR = 0.16
"""Seconds around no offset within which true sound agrees best."""
SHORTEST = 2.0
"""Seconds below which nothing can be told."""

_NOSE_TIP, _CHIN = 1, 152
_STILL = 0.005  # cm; a mouth whose opening varies less does not speak
_BANDS = 8
_VOWELS = slice(2, 7)  # 0.5 to 5 kHz: loud when the mouth is open
_ROUND, _SPREAD = slice(0, 4), slice(4, 7)  # below and above 1.3 kHz: spread lips move the energy upwards
_SLOW = 0.8  # seconds; slower changes (loudness, expression) are taken out
_SHRINKAGE = 0.3  # of the covariances towards the identity: a few seconds give few independent frames


@dataclass(frozen=True)
class SyncMeasurement:
    """How sound and lips of a clip agree.

    Args:
        lag: seconds by which the sound comes late; negative when it comes early.
        agreement: the best near no offset, above what chance gives: about 0.3 for true sound, 0.1 for another
            clip's.
        confidence: how far the best lag stands above the others, in their standard deviations. Another clip's
            sound rarely reaches 5.
    """

    lag: float
    agreement: float
    confidence: float


def measure_sync(vertices: np.ndarray, audio: np.ndarray, fps: float) -> SyncMeasurement | None:
    """Compare lips and sound at every lag; None where nothing can be told: too short, silent, or a still mouth.

    Two comparisons are averaged. One knows what speech looks like: the mouth opens and the chin falls with the
    energy of vowels, and the corners part when energy moves to high frequencies. The other is a canonical
    correlation between the mouth's three movements and the spectrum around each frame, which adapts to the
    speaker but knows no sign.

    Args:
        vertices: (f, 468, 3) metric mesh, head motion removed, cm.
        audio: (n,) waveform at SAMPLE_RATE that begins with the first frame.
        fps: frames per second of the vertices.
    """
    frames = min(len(vertices), int(len(audio) / SAMPLE_RATE * fps))
    if frames < SHORTEST * fps or not np.abs(audio).max() > 0:
        return None
    mouth = _mouth(vertices[:frames])
    if mouth[:, 0].std() < _STILL:
        return None
    lips = _quick(gaussian_filter1d(mouth, 0.028 * fps, axis=0), fps)
    sound = _quick(_band_energies(audio, frames, fps), fps)
    lags = np.arange(-_reach(frames, fps), _reach(frames, fps) + 1)
    curve = (_expected(lips, sound, lags, fps) + _canonical(lips, sound, lags)) / 2
    best = int(curve.argmax())
    others = curve[np.abs(lags - lags[best]) > 0.12 * fps]
    chance, spread = others.mean(), others.std()
    near = np.abs(lags / fps - NATURAL_LEAD) <= NEAR
    return SyncMeasurement(
        lag=round(float((lags[best] + _vertex(curve, best)) / fps - NATURAL_LEAD), 4),
        agreement=round(float(curve[near].max() - np.median(curve)), 4),
        confidence=round(float((curve[best] - chance) / max(spread, 1e-9)), 3),
    )


def _mouth(vertices: np.ndarray) -> np.ndarray:
    """(f, 3): opening between the inner lips, width between the corners, fall of the chin."""
    upper, lower = INNER_LIP_PAIRS.T
    opening = np.linalg.norm(vertices[:, upper] - vertices[:, lower], axis=-1).mean(axis=1)
    width = np.linalg.norm(vertices[:, MOUTH_CORNERS[0]] - vertices[:, MOUTH_CORNERS[1]], axis=-1)
    chin = vertices[:, _NOSE_TIP, 1] - vertices[:, _CHIN, 1]
    return np.stack((opening, width, chin), axis=1).astype(np.float64)


def _band_energies(audio: np.ndarray, frames: int, fps: float) -> np.ndarray:
    """(f, 8) log energy in bands of equal width on the mel scale, each frame the mean of four windows."""
    window, per_frame = round(0.025 * SAMPLE_RATE), 4
    begins = np.arange(frames * per_frame) * (SAMPLE_RATE / fps / per_frame)
    padded = np.pad(np.asarray(audio, np.float64), (window // 2, window + int(SAMPLE_RATE / fps)))
    bank = _mel_bank(512, 3 * _BANDS)
    energies = []
    for part in np.array_split(np.rint(begins).astype(int), max(1, len(begins) // 2000)):
        pieces = padded[np.minimum(part[:, None] + np.arange(window), len(padded) - 1)]
        energies.append(np.abs(np.fft.rfft(pieces * np.hanning(window), 512)) ** 2 @ bank.T)
    energy = np.concatenate(energies)
    floor = 1e-6 * max(1e-6, float(np.percentile(energy.sum(axis=1), 95)))
    return np.log(energy + floor).reshape(frames, per_frame, _BANDS, 3).mean(axis=(1, 3))


def _mel_bank(size: int, bands: int) -> np.ndarray:
    """(bands, size // 2 + 1) triangles between 80 and 7600 Hz."""
    low, high = (2595 * np.log10(1 + hertz / 700) for hertz in (80.0, 7600.0))
    corners = 700 * (10 ** (np.linspace(low, high, bands + 2) / 2595) - 1)
    frequencies = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    left, middle, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    rising, falling = (frequencies - left) / (middle - left), (right - frequencies) / (right - middle)
    return np.clip(np.minimum(rising, falling), 0, None)


def _quick(signal: np.ndarray, fps: float) -> np.ndarray:
    """What changes faster than `_SLOW`, of unit variance."""
    quick = signal - gaussian_filter1d(signal, _SLOW * fps, axis=0, mode="nearest")
    return _standardised(quick)


def _standardised(signal: np.ndarray) -> np.ndarray:
    signal = signal - signal.mean(axis=0)
    return signal / (signal.std(axis=0) + 1e-8)


def _reach(frames: int, fps: float) -> int:
    """Frames of lag to either side; a short clip cannot spare as many."""
    return min(round(LONGEST_LAG * fps), frames // 3)


def _overlap(lips: np.ndarray, sound: np.ndarray, lag: int) -> tuple[np.ndarray, np.ndarray]:
    """The frames of the lips, and those of the sound `lag` frames later."""
    frames = len(lips)
    return lips[max(0, -lag) : frames - max(0, lag)], sound[max(0, lag) : frames + min(0, lag)]


def _expected(lips: np.ndarray, sound: np.ndarray, lags: np.ndarray, fps: float) -> np.ndarray:
    """(lags,) mean correlation of what speech lets expect."""
    smooth = gaussian_filter1d(sound, 0.04 * fps, axis=0)
    vowels = smooth[:, _VOWELS].mean(axis=1)
    brightness = smooth[:, _SPREAD].mean(axis=1) - smooth[:, _ROUND].mean(axis=1)
    pairs = ((lips[:, 0] + lips[:, 2], vowels, 2 / 3), (lips[:, 1], brightness, 1 / 3))
    return np.array(
        [
            sum(share * _correlation(*_overlap(seen, heard, lag)) for seen, heard, share in pairs)
            for lag in lags
        ]
    )


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    first, second = first - first.mean(), second - second.mean()
    return float(first @ second / np.sqrt((first @ first) * (second @ second) + 1e-12))


def _canonical(lips: np.ndarray, sound: np.ndarray, lags: np.ndarray) -> np.ndarray:
    """(lags,) regularised canonical correlation, less its median: root of the summed squares."""
    around = np.concatenate([np.roll(np.pad(sound, ((1, 1), (0, 0)), "edge"), k, 0) for k in (1, 0, -1)], 1)
    around = around[1:-1]
    values = []
    for lag in lags:
        seen, heard = (_standardised(part) for part in _overlap(lips, around, lag))
        cross = _whitener(seen).T @ (seen.T @ heard / len(seen)) @ _whitener(heard)
        values.append(np.linalg.norm(cross))
    return np.array(values) - np.median(values)


def _whitener(signal: np.ndarray) -> np.ndarray:
    covariance = signal.T @ signal / len(signal)
    shrunk = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * np.eye(len(covariance))
    return np.linalg.cholesky(np.linalg.inv(shrunk))


def _vertex(curve: np.ndarray, best: int) -> float:
    """Where between its neighbours the peak lies, in frames: the vertex of the parabola through the three."""
    if not 0 < best < len(curve) - 1:
        return 0.0
    left, peak, right = curve[best - 1 : best + 2]
    bend = left - 2 * peak + right
    return float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5)) if bend < 0 else 0.0
