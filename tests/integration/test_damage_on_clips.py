"""Filmed clips, damaged in known ways: who should notice does, and nobody else.

The undamaged clips are scored as if they were generated, so that their row says what no damage is worth.
"""

import json
from itertools import islice

import pytest
from entries import composed

from aniportrait.cli.evaluate import evaluate
from aniportrait.data.media import read_video, write_video
from aniportrait.data.sound import read_audio

CLIPS = ("pcavs_audio_00086", "pcavs_audio_681100216", "lia_vox_driving2")
"""They speak, in sync, in square pictures at 25 fps."""
SECONDS = 4.5
PIXELS = ("psnr", "ssim", "face_l1", "mouth_l1", "flicker_whole", "flicker_mouth", "flicker_background")
FACE = ("landmark_distance_mouth", "lip_vertex_error", "mouth_opening_correlation", "mouth_opening_spread")
SOUND = ("av_offset", "av_agreement", "av_confidence")

pytestmark = [pytest.mark.slow, pytest.mark.shared]


@pytest.fixture(scope="module")
def scores(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    for clip in CLIPS:
        file = shared / "data" / "clips" / f"{clip}.mp4"
        frames = islice(read_video(file), round(SECONDS * 25))
        write_video(folder / "real" / file.name, frames, 25.0, read_audio(file))
    given = [f"videos.{kind}={folder / 'real'}" for kind in ("generated", "real")]
    settings = [
        "videos.distortions=true",
        "videos.size=128",
        f"only=[{','.join((*PIXELS, *FACE, *SOUND))}]",
        f"out={folder}",
    ]
    with composed("evaluate", *given, *settings, out=folder) as config:
        evaluate(config)
    scores = json.loads((folder / "results.json").read_text())["scores"]
    return {system: {name: of["value"] for name, of in figures.items()} for system, figures in scores.items()}


def test_late_sound_is_noticed_by_lips_and_sound_alone(scores):
    late, undamaged = scores["sound 200 ms late"], scores["generated"]
    assert all(late[name] == undamaged[name] for name in (*PIXELS, *FACE))
    assert late["av_offset"] - undamaged["av_offset"] == pytest.approx(0.2, abs=0.08)
    assert late["av_agreement"] < undamaged["av_agreement"] - 0.1


def test_a_frozen_mouth_is_noticed_by_mouth_lips_and_sound_and_not_behind_the_head(scores):
    frozen = scores["frozen mouth"]
    assert frozen["flicker_background"] < 1e-4 < 0.01 < frozen["flicker_mouth"]
    assert frozen["mouth_l1"] > 2 * frozen["face_l1"]
    assert frozen["mouth_opening_spread"] < 0.3
    assert abs(frozen["mouth_opening_correlation"]) < 0.3
    assert frozen["landmark_distance_mouth"] > 2
    assert frozen["av_agreement"] < 0.2 < scores["generated"]["av_agreement"]


@pytest.mark.parametrize("damage", ["blurred by 2 pixels", "noise of 5 %"])
def test_worse_pixels_are_noticed_by_pixels_and_lips_and_sound_are_read_through_them(scores, damage):
    worse, undamaged = scores[damage], scores["generated"]
    assert 20 < worse["psnr"] < 30
    assert worse["ssim"] < 0.9
    assert all(worse[name] > 0.005 for name in PIXELS if name not in ("psnr", "ssim"))
    assert worse["mouth_opening_correlation"] > 0.8
    assert worse["mouth_opening_spread"] == pytest.approx(1, abs=0.25)
    assert worse["av_offset"] == pytest.approx(undamaged["av_offset"], abs=0.04)
    assert worse["av_agreement"] == pytest.approx(undamaged["av_agreement"], abs=0.1)


def test_another_clip_is_noticed_by_all_that_knows_the_truth_and_is_in_sync_with_itself(scores):
    other, undamaged = scores["another clip"], scores["generated"]
    assert other["psnr"] < 15
    assert other["ssim"] < 0.5
    assert other["face_l1"] > 3 * scores["noise of 5 %"]["face_l1"]
    assert other["landmark_distance_mouth"] > 2 * scores["frozen mouth"]["landmark_distance_mouth"]
    assert abs(other["mouth_opening_correlation"]) < 0.3
    assert all(other[name] == pytest.approx(undamaged[name]) for name in SOUND)
