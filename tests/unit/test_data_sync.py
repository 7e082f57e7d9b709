"""The offset of sound and lips, where it is known: lips that open with the loudness of a noise."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from aniportrait.data.sync import NATURAL_LEAD, measure_sync
from aniportrait.face.topology import INNER_LIP_PAIRS


def speech(seconds: float, seed: int = 0) -> np.ndarray:
    """(n,) loudness at 1000 Hz in [0, 1], that changes as syllables do."""
    noise = np.random.default_rng(seed).normal(size=round(seconds * 1000))
    slow = gaussian_filter1d(noise, 60)
    return np.clip(0.5 + slow / (3 * slow.std()), 0, 1)


def spoken(loudness: np.ndarray, late: float, seed: int = 1) -> np.ndarray:
    """A noise of this loudness, `late` seconds late."""
    times = np.arange(round(len(loudness) * 16)) / 16_000
    level = np.interp(times - late, np.arange(len(loudness)) / 1000, loudness)
    return (0.3 * level**2 * np.random.default_rng(seed).normal(size=len(times))).astype(np.float32)


def lips(loudness: np.ndarray, fps: float, jitter: float = 0.02) -> np.ndarray:
    """(f, 468, 3): the mouth opens and the chin falls with the loudness, by up to a centimetre."""
    generator = np.random.default_rng(2)
    frames = int(len(loudness) / 1000 * fps)
    opening = np.interp(np.arange(frames) / fps, np.arange(len(loudness)) / 1000, loudness)
    vertices = np.tile(generator.normal(size=(468, 3)), (frames, 1, 1))
    vertices[:, INNER_LIP_PAIRS[:, 1]] = vertices[:, INNER_LIP_PAIRS[:, 0]]
    vertices[:, INNER_LIP_PAIRS[:, 1], 1] -= 0.2 + opening[:, None]
    vertices[:, 152, 1] = -5 - opening
    return (vertices + jitter * generator.normal(size=vertices.shape)).astype(np.float32)


@pytest.mark.parametrize("late", [-0.4, -0.12, 0.0, 0.2, 0.6])
@pytest.mark.parametrize("fps", [25.0, 29.97])
def test_the_offset_is_found(late, fps):
    loudness = speech(8)
    measured = measure_sync(lips(loudness, fps), spoken(loudness, late), fps)
    assert measured is not None
    assert measured.lag + NATURAL_LEAD == pytest.approx(late, abs=0.03)
    assert measured.confidence > 5


def test_another_sound_agrees_far_less():
    mouth = lips(speech(8), 25.0)
    own = measure_sync(mouth, spoken(speech(8), 0.04), 25.0)
    others = [measure_sync(mouth, spoken(speech(8, seed), 0.0), 25.0) for seed in range(1, 21)]
    assert own is not None
    found = [other for other in others if other is not None]
    assert len(found) == 20
    assert own.agreement > 2 * max(other.agreement for other in found)
    assert own.confidence > 3 * np.median([other.confidence for other in found])


def test_where_nothing_can_be_told_nothing_is():
    loudness = speech(8)
    mouth, sound = lips(loudness, 25.0), spoken(loudness, 0.0)
    assert measure_sync(mouth[:40], sound, 25.0) is None, "1.6 s"
    assert measure_sync(mouth, sound[:16_000], 25.0) is None
    assert measure_sync(mouth, np.zeros_like(sound), 25.0) is None
    assert measure_sync(np.repeat(mouth[:1], 200, axis=0), sound, 25.0) is None, "a still mouth"


def test_loudness_is_of_no_account():
    loudness = speech(6)
    mouth, sound = lips(loudness, 25.0), spoken(loudness, 0.1)
    loud, quiet = measure_sync(mouth, sound, 25.0), measure_sync(mouth, sound / 100, 25.0)
    assert loud is not None
    assert quiet is not None
    assert loud.lag == pytest.approx(quiet.lag, abs=1e-3)
    assert loud.agreement == pytest.approx(quiet.agreement, abs=0.02)
