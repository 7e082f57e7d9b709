"""Videos that a protocol samples: the same ones again, from where it stopped, and never mixed with others."""

import json

import pytest
from entries import composed

from aniportrait.cli.evaluate import evaluate
from aniportrait.data.media import probe

FAST = [
    "sampling_steps=1",
    "protocol.seconds=0.12",
    "only=[psnr,face_l1,landmark_jitter]",
    "context=open",
    "split=train",
]


def run(imported, shards, out, *settings):
    given = [f"weights={imported}", "data=shards", f"data.folder={shards}", f"out={out}", *FAST]
    with composed("evaluate", *given, *settings, out=out) as config:
        evaluate(config)
    return json.loads((out / "results.json").read_text())


def split_of(shards):
    return json.loads((shards / "index.json").read_text())["samples"]


@pytest.fixture(scope="module")
def reenacted(imported, shards, tmp_path_factory):
    out = tmp_path_factory.mktemp("protocol")
    return out, run(imported, shards, out, "metrics=self_reenactment")


def test_every_clip_has_its_video_its_truth_and_its_portrait(reenacted, shards):
    out, results = reenacted
    clips = sorted(sample["key"] for sample in split_of(shards) if sample["split"] == "train")
    for kind, suffix in (("generated", "mp4"), ("real", "mp4"), ("reference", "png")):
        assert sorted(file.stem for file in (out / "videos" / kind).glob(f"*.{suffix}")) == clips
    video = probe(out / "videos" / "generated" / f"{clips[0]}.mp4")
    assert (video.fps, video.has_audio) == (25.0, True)
    assert results["scores"]["generated"]["psnr"]["scored"] == len(clips)
    assert results["protocol"]["name"] == "self_reenactment"
    assert results["protocol"]["version"] == 1


def test_a_run_that_stopped_samples_what_is_missing_and_gives_the_same_video(reenacted, imported, shards):
    out, results = reenacted
    videos = sorted((out / "videos" / "generated").iterdir())
    before = [(file.read_bytes(), file.stat().st_mtime_ns) for file in videos]
    videos[0].unlink()
    again = run(imported, shards, out, "metrics=self_reenactment")
    assert videos[0].read_bytes() == before[0][0]
    assert [file.stat().st_mtime_ns for file in videos[1:]] == [time for _, time in before[1:]]
    assert again["scores"] == results["scores"]


def test_two_processes_share_the_clips_and_make_the_same_videos(reenacted, imported, shards, tmp_path):
    results = run(imported, shards, tmp_path, "metrics=self_reenactment", "processes=2")
    assert results["clips"] == reenacted[1]["clips"]
    for video in sorted((tmp_path / "videos" / "generated").iterdir()):
        assert video.read_bytes() == (reenacted[0] / "videos" / "generated" / video.name).read_bytes()


def test_videos_of_other_settings_are_not_mixed_in(reenacted, imported, shards):
    with pytest.raises(ValueError, match=r"videos sampled with other sampling.*choose another out="):
        run(imported, shards, reenacted[0], "metrics=self_reenactment", "seed=43")


def test_another_persons_video_is_no_truth(imported, shards, tmp_path):
    results = run(imported, shards, tmp_path, "metrics=cross_identity")
    assert list(results["scores"]) == ["generated", "driving video", "copying the portrait"]
    assert set(results["scores"]["generated"]) == {"landmark_jitter"}
    assert results["skipped"]["psnr"] == "needs videos.real=DIR"


def test_speech_drives_a_portrait(imported, shards, tmp_path):
    results = run(imported, shards, tmp_path, "metrics=audio_driven")
    assert results["scores"]["generated"]["psnr"]["scored"] > 0


def test_a_protocol_whose_clips_are_not_there_says_so(imported, shards, tmp_path):
    with pytest.raises(ValueError, match="holds no clip of the list hdtf_1"):
        run(imported, shards, tmp_path, "metrics=hdtf_self_reenactment")
