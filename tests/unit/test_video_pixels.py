"""Scores of moving pixels of videos, a few frames at a time: the whole video's own."""

import numpy as np
import pytest
import torch
from scored_videos import face, random_pixels, video

from aniportrait.evaluation import moving_regions
from aniportrait.evaluation.change_ratio import ChangeRatio
from aniportrait.evaluation.face_regions import regions
from aniportrait.evaluation.flicker import Flicker
from aniportrait.evaluation.motion_ratio import MotionRatio
from aniportrait.evaluation.video_change_ratio import VideoChangeRatio
from aniportrait.evaluation.video_flicker import VideoFlicker
from aniportrait.evaluation.video_metric import NotScoredError
from aniportrait.evaluation.video_motion_ratio import VideoMotionRatio
from aniportrait.evaluation.video_pair import VideoPair

FORMULAS = ((VideoFlicker, Flicker), (VideoChangeRatio, ChangeRatio), (VideoMotionRatio, MotionRatio))


def figure(metric, pair):
    return metric.measure(pair)["figure"].item()


def wandering_pair(frames=5 * moving_regions.CHUNK + 4):
    steps = 0.2 * np.random.default_rng(0).uniform(-1, 1, (frames, 1, 2))
    places = face() + steps
    real = video(frames, pixels=random_pixels(frames, 24, 20, seed=0), landmarks=places)
    return VideoPair("clip", video(frames, pixels=random_pixels(frames, 24, 20, seed=1)), real)


@pytest.mark.parametrize("region", ["mouth", "background", "whole"])
@pytest.mark.parametrize(("metric", "formula"), FORMULAS)
def test_chunks_give_what_the_whole_video_gives(metric, formula, region):
    pair = wandering_pair()
    whole = formula()
    mask = regions(torch.from_numpy(pair.real.track.landmarks)[None], 24, 20)[region]
    whole.update(*(clip.frames[None].double() / 127.5 - 1 for clip in (pair.generated, pair.real)), mask)
    assert 0.005 < whole.compute() < 2
    assert figure(metric(region), pair) == pytest.approx(whole.compute().item(), rel=1e-5)


def blinking_square(amplitude, frames=20):
    """A picture at 100 whose mouth is 100 + and - amplitude in turn."""
    pixels = torch.full((frames, 3, 40, 40), 100, dtype=torch.uint8)
    signs = torch.tensor([1, -1]).repeat(frames // 2)[:, None, None, None]
    pixels[:, :, 24:28, 16:24] = (100 + amplitude * signs).to(torch.uint8)
    return video(frames, pixels=pixels)  # the lips' pixels; the mouth's box is 14 to 26 by 22 to 30


def test_a_mouth_that_moves_half_as_much():
    pair = VideoPair("clip", blinking_square(20), blinking_square(40))
    share = 4 * 8 / (12 * 8)
    assert figure(VideoChangeRatio("mouth"), pair) == pytest.approx(0.5, abs=1e-5)
    assert figure(VideoMotionRatio("mouth"), pair) == pytest.approx(0.5, abs=1e-5)
    assert figure(VideoFlicker("mouth"), pair) == pytest.approx(40 / 255 * share, rel=1e-5)
    assert figure(VideoFlicker("background"), pair) == 0.0
    assert figure(VideoFlicker("whole"), pair) == pytest.approx(40 / 255 * 32 / 1600, rel=1e-5)


def test_frames_without_a_real_face_have_no_mouth():
    real = blinking_square(40)
    real.track.valid[:10] = False
    ours = blinking_square(40)
    ours.frames[:10] = 0
    pair = VideoPair("clip", ours, real)
    assert figure(VideoFlicker("mouth"), pair) == 0.0
    assert figure(VideoChangeRatio("mouth"), pair) == pytest.approx(1.0)
    assert figure(VideoFlicker("whole"), pair) > 0.0


@pytest.mark.parametrize("metric", [VideoChangeRatio, VideoMotionRatio])
def test_a_real_mouth_that_stands_still_says_nothing(metric):
    with pytest.raises(NotScoredError, match="the real video's mouth does not move or is not seen"):
        metric("mouth").measure(VideoPair("clip", blinking_square(40), blinking_square(0)))


def test_a_single_frame_does_not_change():
    with pytest.raises(NotScoredError, match="a single frame does not change"):
        VideoFlicker().measure(VideoPair("clip", video(1), video(1)))


def test_regions_have_names():
    with pytest.raises(ValueError, match=r"region \(nose\) must be one of mouth, background, whole"):
        VideoFlicker("nose")


def test_no_tensor_of_floats_is_as_long_as_the_video(monkeypatch):
    """What is converted at a time: three frames, or all frames of 8 rows."""
    sizes = []

    def watched(frames):
        sizes.append(frames.numel())
        return frames.float() / 127.5 - 1

    for module in ("moving_regions", "video_motion_ratio"):
        monkeypatch.setattr(f"aniportrait.evaluation.{module}.to_floats", watched)
    frames = 64
    pair = VideoPair("clip", *(video(frames, pixels=random_pixels(frames, 64, 4, s)) for s in (0, 1)))
    for metric in (VideoFlicker(), VideoChangeRatio(), VideoMotionRatio()):
        metric.measure(pair)
    assert max(sizes) == frames * 3 * 8 * 4
    assert sizes.count(3 * 3 * 64 * 4) == 2 * 2 * 31
    assert len(sizes) == 2 * 2 * 32 + 2 * 8
