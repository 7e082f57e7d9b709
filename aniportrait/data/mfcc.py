"""Mel-frequency cepstral coefficients, number for number those that python_speech_features gives by default."""

from functools import lru_cache

import numpy as np
from scipy.fft import dct

from aniportrait.data.schema import SAMPLE_RATE

COEFFICIENTS = 13
WINDOW, HOP = 400, 160
"""Samples: 25 and 10 ms."""

_FFT, _BANDS = 512, 26
_PREEMPHASIS = 0.97
_LIFTER = 22
_PIECE = 6000  # windows whose spectrum is held at once
_LEAST = np.finfo(float).eps  # in place of an energy of exactly 0


def int16_scale(audio: np.ndarray) -> np.ndarray:
    """(n,) in [-1, 1] -> (n,) whole numbers of 16 bits, as a wav file holds them; float64."""
    return np.clip(np.rint(np.asarray(audio, np.float64) * 32768), -32768, 32767)


def mfcc(audio: np.ndarray) -> np.ndarray:
    """Coefficients of a sound; the level counts, so that SyncNet's sounds come in the scale of 16-bit numbers.

    Rectangular windows of the pre-emphasised sound, power spectrum, 26 triangles from 0 to 8 kHz whose corners lie on
    whole bins, logarithm, orthonormal DCT, sine lifter; the first coefficient is the logarithm of the window's energy.
    The last window is filled up with zeros.

    Args:
        audio: (n,) at 16 kHz, n > 0.
    Returns:
        (max(1, 1 + ceil((n - 400) / 160)), 13) float64.
    """
    audio = np.asarray(audio, np.float64)
    if audio.ndim != 1 or not len(audio):
        raise ValueError(f"audio of shape {audio.shape} must be (n,) with n > 0")
    sharp = np.append(audio[0], audio[1:] - _PREEMPHASIS * audio[:-1])
    steps = max(1, 1 - (WINDOW - len(audio)) // HOP)
    padded = np.pad(sharp, (0, max(0, (steps - 1) * HOP + WINDOW - len(audio))))
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:steps]
    return np.concatenate([_cepstra(windows[k : k + _PIECE]) for k in range(0, steps, _PIECE)])


def _cepstra(windows: np.ndarray) -> np.ndarray:
    power = np.abs(np.fft.rfft(windows, _FFT)) ** 2 / _FFT
    bands = _logarithm(power @ _triangles().T)
    cepstra = np.asarray(dct(bands, type=2, axis=1, norm="ortho"))[:, :COEFFICIENTS]
    cepstra = cepstra * (1 + _LIFTER / 2 * np.sin(np.pi * np.arange(COEFFICIENTS) / _LIFTER))
    cepstra[:, 0] = _logarithm(power.sum(axis=1))
    return cepstra


def _logarithm(energy: np.ndarray) -> np.ndarray:
    return np.log(np.where(energy == 0, _LEAST, energy))


@lru_cache(maxsize=1)
def _triangles() -> np.ndarray:
    """(26, 257), corners evenly spaced in mel and rounded down to bins of a transform one sample longer."""
    top = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700)
    hertz = 700 * (10 ** (np.linspace(0, top, _BANDS + 2) / 2595) - 1)
    corners = np.floor((_FFT + 1) * hertz / SAMPLE_RATE)
    left, peak, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    bins = np.arange(_FFT // 2 + 1)
    # At these sizes no two corners fall on one bin.
    rising, falling = (bins - left) / (peak - left), (right - bins) / (right - peak)
    return np.clip(np.minimum(rising, falling), 0, None)
