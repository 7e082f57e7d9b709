"""Videos scored by the command: whoever made them, in any number of processes, again after a crash."""

import json
import shutil

import numpy as np
import pytest
import torch
from entries import composed
from PIL import Image

from aniportrait.cli.evaluate import evaluate
from aniportrait.data.clip_codec import decode_frames
from aniportrait.data.media import read_video, write_video
from aniportrait.data.shards import ShardIndex, read_sample
from aniportrait.evaluation.video_files import pairs_of_folders, read_pair
from aniportrait.evaluation.video_scores import score_clips
from aniportrait.face.landmarks import FaceLandmarker

ONLY = "only=[psnr,face_l1,landmark_distance_mouth,blendshape_frechet,flicker_whole,landmark_jitter]"


@pytest.fixture(scope="module")
def videos(shards, tmp_path_factory):
    """generated: the real videos darkened; the first clip by 10 %, the others by 20 %."""
    folder = tmp_path_factory.mktemp("videos")
    index = ShardIndex.load(shards)
    for number, entry in enumerate(index.samples[:3]):
        sample = read_sample(shards, entry)
        frames = np.stack(decode_frames(sample.video, range(12)))
        darkened = np.round(frames * (0.9 if number == 0 else 0.8)).astype(np.uint8)
        sound = None if sample.audio is None else sample.audio[: 12 * 640]
        write_video(folder / "real" / f"{entry.key}.mp4", list(frames), 25.0, sound)
        write_video(folder / "generated" / f"{entry.key}.mp4", list(darkened), 25.0, sound)
    return folder


def score(videos, out, *settings):
    given = [f"videos.generated={videos / 'generated'}", f"videos.real={videos / 'real'}", f"out={out}", ONLY]
    with composed("evaluate", *given, *settings, out=out) as config:
        evaluate(config)
    return json.loads((out / "results.json").read_text())


@pytest.fixture(scope="module")
def scored(videos, tmp_path_factory):
    out = tmp_path_factory.mktemp("scored")
    return out, score(videos, out)


def test_every_figure_says_what_it_is_of(scored, videos):
    out, results = scored
    scores = results["scores"]
    assert set(scores) == {"generated", "real video", "copying the portrait"}
    assert scores["generated"]["psnr"]["scored"] == scores["generated"]["psnr"]["given"] == 3
    assert 10 < scores["generated"]["psnr"]["value"] < 30
    assert scores["generated"]["face_l1"]["value"] > 0.02
    assert set(scores["real video"]) == {"landmark_jitter"}  # nothing else can be said of it alone
    assert set(results["backends"]) == set(scores["generated"])
    assert all(results["backends"].values())
    assert results["protocol"]["fps"] == [25.0]
    first, *others = sorted(results["clips"])
    darker = [results["clips"][clip]["generated"]["face_l1"] for clip in others]
    assert results["clips"][first]["generated"]["face_l1"] < min(darker)
    page = (out / "report.html").read_text()
    assert "Worst and best clips" in page
    assert "video/mp4" in page
    psnr = scores["generated"]["psnr"]["value"]
    assert f"| generated | {psnr:.2f} (n = 3) |" in (out / "tables.md").read_text()


def test_what_a_killed_process_left_is_no_video(videos, tmp_path):
    folder = shutil.copytree(videos / "generated", tmp_path / "generated")
    clip = next(folder.glob("*.mp4"))
    for left in (".a.mp4.parts", "b/.c.mp4.xyz"):
        (folder / left).mkdir(parents=True)
        shutil.copy(clip, folder / left / "000000.mp4")
    assert len(pairs_of_folders(folder, videos / "real", None)) == 3


@pytest.mark.parametrize("name", ["blink_rate", "psnr"])
def test_what_clips_cannot_be_ranked_by_is_said_before_any_is_measured(videos, tmp_path, name):
    with pytest.raises(ValueError, match=rf"rank_by={name} must be computed here, clip by clip, .*: ssim$"):
        score(videos, tmp_path, "only=[ssim,blink_rate]", f"rank_by={name}")
    assert not (tmp_path / "measured").exists()


def test_two_processes_and_one_give_the_same_figures(scored, videos, tmp_path):
    results = score(videos, tmp_path, "processes=2")
    assert results["scores"] == scored[1]["scores"]
    assert results["clips"] == scored[1]["clips"]


def test_sums_over_clips_have_one_thread_so_that_a_machine_of_more_cores_gives_the_same_digits(
    scored, videos, tmp_path, monkeypatch
):
    shutil.copytree(scored[0], tmp_path / "out")
    threads = []

    def watched(*settings):
        threads.append(torch.get_num_threads())
        return score_clips(*settings)

    monkeypatch.setattr("aniportrait.cli.evaluate_videos.score_clips", watched)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert score(videos, tmp_path / "out")["scores"] == scored[1]["scores"]
        assert (threads, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(before)


def test_what_is_measured_is_not_measured_again_and_what_changed_is(scored, videos, tmp_path, caplog):
    shutil.copytree(scored[0], tmp_path / "out")
    measured = sorted((tmp_path / "out" / "measured").iterdir())
    times = [file.stat().st_mtime_ns for file in measured]
    measured[0].write_bytes(
        measured[0].read_bytes()[:100]
    )  # as a crash would leave it, were files not written whole
    with caplog.at_level("INFO"):
        again = score(videos, tmp_path / "out")
    assert again["scores"] == scored[1]["scores"]
    assert "2 of 3 clips are measured already" in caplog.text
    assert [file.stat().st_mtime_ns for file in measured][1:] == times[1:]
    smaller = score(videos, tmp_path / "out", "videos.size=64")
    assert smaller["protocol"]["resolution"] == ["64 x 64"]
    assert smaller["scores"] != again["scores"]


def test_a_metric_without_its_weights_is_named_and_never_replaced(videos, tmp_path):
    with composed(
        "evaluate",
        f"videos.generated={videos / 'generated'}",
        f"videos.real={videos / 'real'}",
        f"out={tmp_path}",
        "only=[psnr,fid,sync_c_lrs]",
        out=tmp_path,
    ) as config:
        evaluate(config)
    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results["scores"]["generated"]) == {"psnr"}
    assert "metrics.fid.weights=" in results["skipped"]["fid"]
    assert "syncnet_v2.model" in results["skipped"]["sync_c_lrs"]
    assert "Not computed here" in (tmp_path / "report.html").read_text()


def test_without_real_videos_what_needs_them_is_skipped(videos, tmp_path):
    given = [f"videos.generated={videos / 'generated'}", f"out={tmp_path}", ONLY]
    with composed("evaluate", *given, out=tmp_path) as config:
        evaluate(config)
    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results["scores"]) == {"generated"}
    assert set(results["scores"]["generated"]) == {"landmark_jitter"}
    assert results["skipped"]["psnr"] == "needs videos.real=DIR"


@pytest.fixture(scope="module")
def portraits(videos, tmp_path_factory):
    """The first frame of each real video."""
    folder = tmp_path_factory.mktemp("portraits")
    for file in (videos / "real").iterdir():
        Image.fromarray(next(iter(read_video(file)))).save(folder / f"{file.stem}.png")
    return folder


def test_a_driving_video_is_no_truth_and_stands_in_the_table_with_the_portraits_copy(
    scored, videos, portraits, tmp_path
):
    given = [f"videos.generated={videos / 'generated'}", f"videos.driving={videos / 'real'}", ONLY]
    with composed(
        "evaluate", *given, f"videos.reference={portraits}", f"out={tmp_path}", out=tmp_path
    ) as config:
        evaluate(config)
    results = json.loads((tmp_path / "results.json").read_text())
    assert list(results["scores"]) == ["generated", "driving video", "copying the portrait"]
    assert results["scores"]["driving video"] == {
        "landmark_jitter": scored[1]["scores"]["real video"]["landmark_jitter"]
    }
    assert results["scores"]["copying the portrait"]["landmark_jitter"]["value"] == 0
    assert results["skipped"]["psnr"] == "needs videos.real=DIR"
    assert "Each video: generated and driving." in (tmp_path / "report.html").read_text()


def test_a_portrait_is_a_face_to_compare_with(videos, portraits, tmp_path):
    """dlib's network is a package of its own: a stand-in metric reads what it would."""
    pair = pairs_of_folders(videos / "generated", videos / "real", portraits)[0]
    with FaceLandmarker(mode="image") as landmarker:
        read, _ = read_pair(pair, landmarker)
    assert read.reference_track.valid.tolist() == [True]
    assert np.abs(read.reference_track.landmarks[0] - read.real.track.landmarks[0]).max() < 0.02
    given = [
        f"videos.generated={videos / 'generated'}",
        f"videos.real={videos / 'real'}",
        f"out={tmp_path / 'out'}",
    ]
    with composed(
        "evaluate", *given, f"videos.reference={portraits}", "only=[psnr,identity_dlib]", out=tmp_path
    ) as config:
        evaluate(config)
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    if "identity_dlib" not in results["skipped"]:
        scores = results["scores"]
        assert scores["copying the portrait"]["identity_dlib"]["value"] < 0.2
        assert scores["real video"]["identity_dlib"]["value"] < 0.6


def test_a_video_without_sound_is_left_out_of_what_needs_it_and_said(videos, tmp_path):
    shutil.copytree(videos, tmp_path / "videos")
    silent = sorted((tmp_path / "videos" / "generated").iterdir())[0]
    write_video(silent, list(read_video(silent)), 25.0)
    given = [f"videos.generated={tmp_path / 'videos' / 'generated'}", f"out={tmp_path / 'out'}"]
    with composed("evaluate", *given, "only=[landmark_jitter,av_offset]", out=tmp_path) as config:
        evaluate(config)
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["not scored"]["generated: av_offset"]["it has no sound"] == [silent.stem]


def test_a_broken_video_is_named_and_left_out_within_a_bound(videos, tmp_path):
    shutil.copytree(videos, tmp_path / "videos")
    broken = sorted((tmp_path / "videos" / "generated").iterdir())[0]
    broken.write_bytes(b"not a video")
    with pytest.raises(ValueError, match=rf"1 of 3 clips cannot be scored.*{broken.stem}"):
        score(tmp_path / "videos", tmp_path / "out")
    results = score(tmp_path / "videos", tmp_path / "out", "videos.max_failed=0.4")
    assert list(results["failures"]) == [broken.stem]
    assert (
        results["scores"]["generated"]["psnr"]["scored"],
        results["scores"]["generated"]["psnr"]["given"],
    ) == (2, 3)


def test_a_video_without_its_truth_is_an_error_that_names_it(videos, tmp_path):
    shutil.copytree(videos, tmp_path / "videos")
    lost = sorted((tmp_path / "videos" / "real").iterdir())[0]
    lost.unlink()
    with pytest.raises(ValueError, match=rf"1 of 3 generated videos have no file.*videos.real: {lost.stem}"):
        score(tmp_path / "videos", tmp_path / "out")


def test_damage_moves_what_should_notice_it(videos, tmp_path):
    scores = score(videos, tmp_path, "videos.distortions=true")["scores"]
    assert scores["noise of 5 %"]["psnr"]["value"] == pytest.approx(26, abs=1.5)  # -20 log10(0.05)
    assert scores["sound 200 ms late"]["face_l1"]["value"] == 0
    assert scores["sound 200 ms late"]["landmark_distance_mouth"]["value"] == 0
    assert scores["another clip"]["landmark_distance_mouth"]["value"] > 5


def test_damage_to_real_videos_that_are_not_given_is_refused(videos, tmp_path):
    given = [f"videos.generated={videos / 'generated'}", "videos.distortions=true", ONLY]
    with (
        composed("evaluate", *given, f"out={tmp_path}", out=tmp_path) as config,
        pytest.raises(ValueError, match=r"videos.distortions=true .* needs videos.real=DIR"),
    ):
        evaluate(config)


def test_runs_are_compared_clip_by_clip(scored, videos, tmp_path):
    darker = tmp_path / "darker"
    shutil.copytree(videos, darker)
    for file in (darker / "generated").iterdir():
        shutil.copyfile(darker / "real" / file.name, file)
    score(darker, tmp_path / "better")
    with composed(
        "evaluate", f"compare=[{scored[0]},{tmp_path / 'better'}]", f"out={tmp_path / 'both'}", out=tmp_path
    ) as config:
        evaluate(config)
    written = json.loads((tmp_path / "both" / "comparison.json").read_text())
    (difference,) = written["differences"].values()
    clips = scored[1]["clips"]
    expected = -np.mean([clips[clip]["generated"]["face_l1"] for clip in clips])
    assert difference["face_l1"]["value"] == pytest.approx(expected)
    assert difference["face_l1"]["scored"] == 3


def test_what_is_to_be_evaluated_must_be_said_once(videos, tmp_path):
    with (
        composed("evaluate", f"out={tmp_path}", out=tmp_path) as config,
        pytest.raises(ValueError, match=r"weights=, videos\.generated=, compare= and was given none"),
    ):
        evaluate(config)
