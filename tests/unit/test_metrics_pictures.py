"""Scores of the frames of videos whose score is known."""

import numpy as np
import pytest
import torch
from scored_pairs import face, noise, pair, track

from aniportrait.evaluation.frame_by_frame import FrameByFrameMetric
from aniportrait.evaluation.suite import PortraitSuite
from aniportrait.evaluation.video_face_l1 import VideoFaceL1
from aniportrait.evaluation.video_metric import NotScoredError
from aniportrait.evaluation.video_mouth_l1 import VideoMouthL1
from aniportrait.evaluation.video_psnr import VideoPSNR
from aniportrait.evaluation.video_ssim import VideoSSIM


def score(metric, clip):
    return metric.measure(clip)["figure"].item()


def plain(values, size=16):
    """Frames of one grey each."""
    return torch.tensor(values, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, size, size)


def test_psnr_of_a_constant_error_is_that_of_its_square_and_frames_weigh_alike():
    real = noise(2)
    ours = real.clone()
    ours[0] += 5
    ours[1] += 20
    expected = (20 * np.log10(255 / 5) + 20 * np.log10(255 / 20)) / 2
    assert score(VideoPSNR(), pair(ours, real)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("chunk", [1, 2, 8])
def test_one_frame_of_several_is_taken_whatever_the_chunk(chunk, monkeypatch):
    monkeypatch.setattr(VideoPSNR, "chunk", chunk)
    real = noise(7)
    ours = real.clone()
    ours[::3] += 5
    ours[1::3] += 100
    assert score(VideoPSNR(every=3), pair(ours, real)) == pytest.approx(20 * np.log10(255 / 5), rel=1e-5)
    with pytest.raises(ValueError, match=r"every \(0\) must be at least 1"):
        VideoPSNR(every=0)


def test_psnr_of_the_truth_is_infinite_and_one_exact_frame_makes_no_clip_so():
    assert score(VideoPSNR(), pair(noise(), noise())) == np.inf
    real = noise(2)
    ours = real.clone()
    ours[1] += 5
    assert score(VideoPSNR(), pair(ours, real)) == pytest.approx(20 * np.log10(255 / 5), rel=1e-5)


def test_ssim_of_plain_frames_is_their_luminance_term_and_1_for_the_truth():
    a, b = 60 / 255, 120 / 255
    expected = (2 * a * b + 1e-4) / (a * a + b * b + 1e-4)
    ours, real = plain([60, 60]), plain([120, 120])
    # float32 leaves a plain picture a variance of 1e-7, which SSIM holds against 9e-4
    assert score(VideoSSIM(), pair(ours, real)) == pytest.approx(expected, abs=5e-4)
    assert score(VideoSSIM(), pair(noise(), noise())) == pytest.approx(1.0)


def test_face_l1_is_the_error_in_the_real_faces_box():
    real = noise()
    ours = real.clone()
    ours[:, :, 4:12, 4:12] += 51  # the box of 0.25 to 0.75
    assert score(VideoFaceL1(), pair(ours, real)) == pytest.approx(51 / 255, rel=1e-5)
    aside = track(face() + 0.25, [True] * len(real))
    assert score(VideoFaceL1(), pair(ours, real, aside)) == pytest.approx(51 / 255 / 4, rel=1e-5)


def test_mouth_l1_sees_the_mouth_alone():
    real = noise(size=20)
    ours = real.clone()
    ours[:, :, 11:15, 7:13] += 51  # the box of lips and margin: x 0.35 to 0.65, y 0.55 to 0.75
    assert score(VideoMouthL1(), pair(ours, real)) == pytest.approx(51 / 255, rel=1e-5)
    ours[:, :, :11] = 0
    assert score(VideoMouthL1(), pair(ours, real)) == pytest.approx(51 / 255, rel=1e-5)
    assert score(VideoFaceL1(), pair(ours, real)) > 51 / 255


def test_frames_without_a_real_face_are_in_no_face_score():
    real = noise(3)
    ours = real.clone()
    ours[0] += 10
    ours[1] += 50
    seen = track(face(), [True, False, True])
    for metric in (VideoFaceL1(), VideoMouthL1()):
        assert score(metric, pair(ours, real, seen)) == pytest.approx(10 / 255 / 2, rel=1e-5)
        with pytest.raises(NotScoredError):
            metric.measure(pair(ours, real, track(face(), [False] * 3)))
    unseen = track(face(), [False] * 3)
    assert score(VideoFaceL1(), pair(ours, real, seen, track=unseen)) == pytest.approx(10 / 255 / 2, rel=1e-5)


def test_a_long_clip_scores_what_its_frames_do_together_and_few_are_held_at_once():
    frames = 2 * FrameByFrameMetric.chunk + 3
    ours, real = noise(frames, 24), noise(frames, 24, seed=1)
    suite = PortraitSuite()
    box = torch.tensor((0.25, 0.25, 0.75, 0.75)).expand(1, frames, 4)
    suite.update(*(video[None] / 127.5 - 1 for video in (ours, real)), box)
    for name, metric in {"psnr": VideoPSNR(), "ssim": VideoSSIM(), "face_l1": VideoFaceL1()}.items():
        assert score(metric, pair(ours, real)) == pytest.approx(suite.per_clip()[name].item(), rel=1e-5)

    class Counted(FrameByFrameMetric):
        def of_frames(self, ours, real, track):
            assert len(ours) == len(real) == len(track) <= self.chunk
            return torch.arange(len(ours)) + ours[:, 0, 0, 0] * 0

    eight = sum(range(8))
    assert score(Counted(), pair(ours, real)) == pytest.approx((2 * eight + 0 + 1 + 2) / 19)


def test_a_clip_without_a_real_video_is_not_scored():
    for metric in (VideoPSNR(), VideoSSIM(), VideoFaceL1(), VideoMouthL1()):
        assert metric.needs == {"real"}
        with pytest.raises(NotScoredError, match="no real video"):
            metric.measure(pair(noise(), None))


def test_the_score_of_clips_is_the_mean_of_theirs():
    metric = VideoFaceL1()
    for error in (10, 30):
        metric.update(metric.measure(pair(noise() + error, noise())))
    assert metric.compute().item() == pytest.approx(20 / 255, rel=1e-5)
    assert metric.per_clip.tolist() == pytest.approx([10 / 255, 30 / 255], rel=1e-5)


def test_a_reference_is_one_picture():
    with pytest.raises(ValueError, match="track has 2 frames"):
        pair(noise(), None, reference=noise(1)[0], reference_track=track(face(), [True, True]))
