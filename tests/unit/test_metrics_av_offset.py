"""Figures of lips and sound that need no weights."""

import numpy as np
import pytest
import torch
from heard_videos import pair, track_of
from scipy.ndimage import gaussian_filter1d

from aniportrait.evaluation.av_agreement import AvAgreement
from aniportrait.evaluation.av_confidence import AvConfidence
from aniportrait.evaluation.av_offset import AvOffset
from aniportrait.evaluation.video_metric import NotScoredError
from aniportrait.evaluation.video_pair import ScoredVideo, VideoPair
from aniportrait.face.topology import INNER_LIP_PAIRS


def speaking(late, seconds=8, fps=25.0):
    """A mouth that opens with the loudness of a noise, whose sound comes `late` seconds late."""
    frames, generator = round(seconds * fps), np.random.default_rng(3)
    slow = gaussian_filter1d(generator.normal(size=seconds * 1000), 60)
    loudness = np.clip(0.5 + slow / (3 * slow.std()), 0, 1)
    opening = np.interp(np.arange(frames) / fps, np.arange(len(loudness)) / 1000, loudness)
    times = np.arange(seconds * 16_000) / 16_000
    level = np.interp(times - late, np.arange(len(loudness)) / 1000, loudness)
    audio = (0.3 * level**2 * generator.normal(size=len(times))).astype(np.float32)
    vertices = np.tile(generator.normal(size=(468, 3)), (frames, 1, 1))
    vertices[:, INNER_LIP_PAIRS[:, 1]] = vertices[:, INNER_LIP_PAIRS[:, 0]]
    vertices[:, INNER_LIP_PAIRS[:, 1], 1] -= 0.2 + opening[:, None]
    vertices[:, 152, 1] = -5 - opening
    vertices = (vertices + 0.02 * generator.normal(size=vertices.shape)).astype(np.float32)
    pixels = torch.zeros(frames, 3, 8, 8, dtype=torch.uint8)
    return VideoPair("speech", ScoredVideo(pixels, track_of(frames, vertices=vertices), audio, fps))


def test_the_offset_is_the_seconds_between_lips_and_sound_whichever_comes_first():
    """Lips lead by 0.04 s by nature: this is where the measure has its zero."""
    metric = AvOffset()
    for late in (0.24, -0.16):
        metric.update(metric.measure(speaking(late)))
    assert metric.per_clip.tolist() == pytest.approx([0.2, 0.2], abs=0.03)
    assert float(metric.compute()) == pytest.approx(0.2, abs=0.03)


def test_a_delay_takes_the_agreement_away_and_leaves_the_confidence():
    together, late = speaking(0.04), speaking(0.5)
    assert AvAgreement().figure(together) > 3 * AvAgreement().figure(late)
    assert AvConfidence().figure(late) > 0.7 * AvConfidence().figure(together) > 3.5


def test_frames_without_a_face_are_filled_and_too_few_with_one_say_nothing():
    clip = speaking(0.24)
    track = clip.generated.track
    track.valid[50:55], track.vertices[50:55] = False, 0.0
    assert AvOffset().figure(clip) == pytest.approx(0.2, abs=0.03)
    track.valid[40:] = False
    with pytest.raises(NotScoredError, match=r"a face is seen for 1\.6 s, 2 s are the least"):
        AvOffset().measure(clip)


def test_silence_and_still_mouths_are_not_scored():
    with pytest.raises(NotScoredError, match="it has no sound"):
        AvAgreement().measure(pair(60, sound=False))
    with pytest.raises(NotScoredError, match="its mouth stands still"):
        AvConfidence().measure(pair(60))
