"""Where windows meet, a network's frames change no more than inside a window."""

import numpy as np
from small_portraits import SIDE, small_pipeline

from aniportrait.diffusion.context import OpenWindows
from aniportrait.pipelines.sampling_settings import SamplingSettings

FRAMES = 80


def changes(windows) -> np.ndarray:
    """(f - 1,) how much a still face changes from frame to frame."""
    face = np.random.default_rng(0).random((468, 2))
    picture = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    settings = SamplingSettings(steps=3, shared_noise=1.0)
    frames = small_pipeline(windows)(picture, face, np.stack([face] * FRAMES), settings)
    return np.abs(np.diff(frames.astype(np.float64), axis=0)).mean(axis=(1, 2, 3))


def at_seams(changed: np.ndarray, windows: OpenWindows) -> tuple[float, float]:
    """Mean and greatest change where two windows fade, or at their border, over that elsewhere."""
    covered = np.zeros(FRAMES, int)
    for frames, _ in windows(FRAMES):
        covered[frames] += 1
    seam = (covered[:-1] > 1) | (covered[1:] > 1)
    if not seam.any():
        seam[[int(frames[0]) - 1 for frames, _ in windows(FRAMES)][1:]] = True
    inside = changed[~seam]
    return changed[seam].mean() / inside.mean(), changed[seam].max() / inside.max()


def test_frames_change_no_more_where_windows_fade_than_inside_them():
    mean, greatest = at_seams(changes(OpenWindows(16, 6)), OpenWindows(16, 6))
    assert mean <= 1.0
    assert greatest <= 1.0
    mean, greatest = at_seams(changes(OpenWindows(16, 4)), OpenWindows(16, 4))
    assert mean < 1.05, "the usual quarter"
    assert greatest < 1.1
    mean, greatest = at_seams(changes(OpenWindows(16, 0)), OpenWindows(16, 0))
    assert mean > 1.5, "without an overlap this test sees the seams"
    assert greatest > 1.2
