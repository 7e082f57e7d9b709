"""VFHQ, CelebV-HQ and HDTF as published, with what goes wrong in them; the files are written here."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from bright_faces import bright_faces, face, prepared, tone

from aniportrait.data.celebvhq import CelebVHQSource
from aniportrait.data.hdtf import HDTFSource
from aniportrait.data.media import write_video
from aniportrait.data.shards import ShardIndex, read_sample
from aniportrait.data.sources import SourceError
from aniportrait.data.vfhq import VFHQMeta, VFHQSource


def meta_file(
    folder: Path, name: str, fps="23.976023976023978", crop="400 100 760 460", size="720 1280"
) -> Path:
    height, width = size.split()
    folder.mkdir(exist_ok=True)
    file = folder / f"{name}.txt"
    file.write_text(
        "HEAD made by somebody\nWhat follows is in pixels\n"
        f"H {height}\nW {width}\nFPS {fps}\nFRAME 100 99 1\nCROP {crop}\n"
    )
    return file


def touch(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")


def test_a_vfhq_meta_file_gives_seconds_and_box_of_the_annotated_video(tmp_path):
    meta = VFHQMeta.read(meta_file(tmp_path, "Clip+-93rQj_Le3-Sw+P12+C3+F1200-1320"))
    assert (meta.video, meta.person, meta.clip) == ("-93rQj_Le3-Sw", 12, 3), "ids hold - and _"
    assert meta.begin == pytest.approx(1201 / 23.976023976), "frames start + 1 to end - 1"
    assert meta.end - meta.begin == pytest.approx(119 / 23.976023976)
    assert meta.box.in_picture(640, 360) == (200, 50, 380, 230), "a download of half the size"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("Clip+abc+P0+C0", "", r"is not called Clip\+ID"),
        ("Clip+abc+P0+C0+F9-10", "H 1\nW 1\nFPS 25\nCROP 0 0 1 1\n", "frames 9 to 10 leave none"),
        ("Clip+abc+P0+C0+F0-10", "H 1\nW 1\nCROP 0 0 1 1\n", "FPS with 1 numbers is missing"),
        ("Clip+abc+P0+C0+F0-10", "H 1\nW 1\nFPS 0\nCROP 0 0 1 1\n", "FPS 0 must be positive"),
        ("Clip+abc+P0+C0+F0-10", "H 1\nW 1\nFPS 25\nCROP 0 0 1\n", "CROP has 3 numbers, not 4"),
        ("Clip+abc+P0+C0+F0-10", "H 1\nW 1\nFPS 25\nCROP 1 0 1 1\n", "must span some area"),
    ],
)
def test_a_bad_vfhq_meta_file_is_named(tmp_path, name, text, says):
    file = tmp_path / f"{name}.txt"
    file.write_text(text)
    with pytest.raises(SourceError, match=says):
        VFHQMeta.read(file)


def test_vfhq_clips_come_from_the_video_else_from_the_cut_clip_and_missing_ones_stay_listed(tmp_path):
    names = [
        f"Clip+{video}+P{person}+C0+F0-100"
        for video, person in [("vid-A", 0), ("vid-A", 1), ("B_b", 0), ("gone", 0)]
    ]
    for name in names:
        meta_file(tmp_path / "meta", name)
    touch(tmp_path / "videos" / "vid-A.webm", tmp_path / "clips" / "Clip+B_b+P0+C0.mp4")
    clips = VFHQSource(tmp_path / "meta", tmp_path / "clips", tmp_path / "videos").clips()
    by_title = {clip.title: clip for clip in clips}
    first, second, cut, gone = (by_title[name] for name in names)
    assert first.path == second.path == tmp_path / "videos" / "vid-A.webm"
    assert (first.identity, second.identity) == ("vid-A+P0", "vid-A+P1")
    assert first.split == second.split, "two people of one video share a split"
    assert first.box is not None
    assert (cut.path.name, cut.box, cut.begin, cut.end) == ("Clip+B_b+P0+C0.mp4", None, 0.0, None)
    assert not gone.path.exists()
    with pytest.raises(SourceError, match=r"source\.clips .* or source\.videos"):
        VFHQSource(tmp_path / "meta").clips()
    with pytest.raises(SourceError, match="none of 4 clips"):
        VFHQSource(tmp_path / "meta", tmp_path / "meta").clips()


@pytest.mark.usefixtures(bright_faces.__name__)
def test_vfhq_frame_folders_become_silent_clips_at_the_constant_rate(tmp_path):
    """50 frames at 29.97 a second are 1.668 s, 42 frames at 25; one lacks, one is broken; missing clips are named."""
    name = "Clip+abc_-d+P0+C0+F100-151"
    meta_file(tmp_path / "meta", name, fps="29.97002997")
    meta_file(tmp_path / "meta", "Clip+gone+P0+C0+F0-100")
    folder = tmp_path / "clips" / name
    folder.mkdir(parents=True)
    for number in range(50):
        shade = np.clip(face().astype(int) + number % 3, 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{101 + number:08d}.png"), shade)
    (folder / "00000120.png").unlink()
    (folder / "00000130.png").write_bytes(b"no picture")
    report = prepared(VFHQSource(tmp_path / "meta", tmp_path / "clips"), tmp_path / "out")
    assert (report["clips"], report["kept"]) == (2, 1)
    assert "does not exist" in report["dropped"][0]["reason"]
    assert report["mended"][0]["notes"] == ["damaged: 48 frames decoded, 1 damaged, 1 missing"]
    sample = read_sample(tmp_path / "out", ShardIndex.load(tmp_path / "out").samples[0])
    assert (sample.meta.frames, sample.audio, sample.meta.source) == (42, None, "abc_-d")
    assert sample.meta.identity == "abc_-d+P0"


@pytest.mark.usefixtures(bright_faces.__name__)
def test_a_section_of_a_video_is_cut_by_seconds_and_the_boxed_face_taken(tmp_path):
    """The video has another size and rate than the annotation; the larger face is not the annotated one."""
    meta_file(
        tmp_path / "meta", "Clip+two_faces+P0+C0+F49-101", fps="25", crop="960 160 1200 400", size="480 1280"
    )
    frames = []
    for number in range(120):  # 4 s at 30; the section is 2.0 to 4.04 s
        picture = face(width=640, height=240, x=20, y=40, side=150)
        if number >= 60:
            picture[:, 320:] = face(width=320, height=240, x=160, y=80, side=120)
        frames.append(picture)
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "two_faces.mp4", frames, 30.0, tone(4))
    report = prepared(VFHQSource(tmp_path / "meta", videos=tmp_path / "videos"), tmp_path / "out")
    assert report["kept"] == 1, report
    sample = read_sample(tmp_path / "out", ShardIndex.load(tmp_path / "out").samples[0])
    x0, _, x1, _ = sample.meta.crop
    assert (x0 + x1) / 2 == pytest.approx(540, abs=20), "about the face at 480 to 600"
    assert sample.meta.begin == 2.0
    assert sample.meta.frames in (50, 51)
    assert sample.audio is not None
    assert sample.track.valid.all()


def celebvhq_json(tmp_path: Path, **clips) -> Path:
    file = tmp_path / "celebvhq_info.json"
    entries = {
        key: {
            "ytb_id": video,
            "duration": {"start_sec": begin, "end_sec": end},
            "bbox": dict(zip(("top", "bottom", "left", "right"), box, strict=True)),
            "attributes": {
                "appearance": [0, 1],
                "action": [1],
                "emotion": {"sep_flag": False, "labels": "neutral"},
            },
            "version": "v0.1",
        }
        for key, (video, begin, end, box) in clips.items()
    }
    file.write_text(
        json.dumps({"meta_info": {"appearance_mapping": [], "action_mapping": []}, "clips": entries})
    )
    return file


def test_celebvhq_boxes_are_shares_and_clips_of_a_video_share_a_person(tmp_path):
    info = celebvhq_json(
        tmp_path,
        **{
            "_0tf2n3rlJU_0": ("_0tf2n3rlJU", 52.72, 56.1, (0.0, 0.8407, 0.5271, 1.0)),
            "_0tf2n3rlJU_1": ("_0tf2n3rlJU", 81, 86, (0.1, 0.5, 0.2, 0.4)),
            "dead_id_0": ("dead_id", 1, 2, (0.1, 0.5, 0.2, 0.4)),
        },
    )
    touch(tmp_path / "videos" / "_0tf2n3rlJU.mp4")
    first, second, dead = CelebVHQSource(info, videos=tmp_path / "videos").clips()
    assert (first.begin, first.end, first.identity) == (52.72, 56.1, "_0tf2n3rlJU")
    assert first.box is not None
    np.testing.assert_allclose(first.box.in_picture(1000, 500), (507.1, 0, 1000, 430.35), atol=1e-6)
    assert first.split == second.split
    assert not dead.path.exists()


def test_a_celebvhq_key_is_not_taken_for_a_video_id(tmp_path):
    """The video with the id abc_1 is another one than clip 1 of the video abc."""
    info = celebvhq_json(tmp_path, abc_1=("abc", 10, 15, (0, 1, 0, 1)), abc_1_0=("abc_1", 3, 5, (0, 1, 0, 1)))
    touch(tmp_path / "videos" / "abc_1.mp4", tmp_path / "clips" / "abc_1.mp4")
    cut, section = CelebVHQSource(info, tmp_path / "clips", tmp_path / "videos").clips()
    assert (cut.path.parent.name, cut.begin, cut.end, cut.box) == ("clips", 0.0, None, None)
    assert (section.path.parent.name, section.begin, section.end) == ("videos", 3.0, 5.0)
    assert cut.identity == "abc"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", "has an entry clips"),
        ("no json", "is not celebvhq_info.json"),
        ('{"clips": {}}', "names no clip"),
        ('{"clips": {"a_0": {"ytb_id": "a"}}}', "clip a_0: KeyError 'duration'"),
    ],
)
def test_a_bad_celebvhq_json_says_what_is_wrong(tmp_path, text, says):
    file = tmp_path / "info.json"
    file.write_text(text)
    with pytest.raises(SourceError, match=says):
        CelebVHQSource(file, clips=tmp_path).clips()


@pytest.mark.usefixtures(bright_faces.__name__)
def test_a_celebvhq_clip_with_a_scene_change_keeps_its_longest_scene(tmp_path):
    """Times in seconds are too coarse: 0.8 s of the scene before come with it."""
    info = celebvhq_json(tmp_path, abc_0=("abc", 1.0, 4.0, (0.1, 0.9, 0.1, 0.9)))
    (tmp_path / "videos").mkdir()
    frames = [face(background=100, x=10)] * 45 + [face()] * 80
    write_video(tmp_path / "videos" / "abc.mp4", frames, 25.0)
    source = CelebVHQSource(info, videos=tmp_path / "videos")
    report = prepared(source, tmp_path / "out", cut_threshold=27.0)
    assert report["mended"][0]["notes"] == ["cut into 2 scenes (at 0.80 s), kept 0.80 to 3.00 s"]
    assert report["samples"][0]["seconds"] == 2.2
    assert read_sample(tmp_path / "out", ShardIndex.load(tmp_path / "out").samples[0]).meta.begin == 1.8


def hdtf_tables(tmp_path: Path) -> Path:
    tables = tmp_path / "HDTF_dataset"
    tables.mkdir()
    (tables / "RD_video_url.txt").write_text(
        "Radio1 https://www.youtube.com/watch?v=CPCoMyuBRM0\nRadio10 https://www.youtube.com/watch?v=ZoRK17RCZHY&t=6s\n"
    )
    (tables / "RD_annotion_time.txt").write_text(
        "Radio1.mp4 00:20-01:35\nRadio10.mp4 00:30-02:50 01:00:05-01:00:15 \n"
    )
    (tables / "RD_crop_wh.txt").write_text("Radio1_0.mp4 608 726 0 726\n")  # Radio10's are missing
    (tables / "RD_resolution.txt").write_text("Radio1.mp4 720\nRadio10.mp4 720\nRadio24.mp4 720\n")
    (tables / "WRA_video_url.txt").write_text(
        "JohnKasich0 https://youtu.be/-93rQjLe3Sw\nJohnKasich1 https://www.youtube.com/watch?v=y-JQqnqmEgg\n"
    )
    (tables / "WRA_annotion_time.txt").write_text(
        "JohnKasich0.mp4 00:58-01:50\nJohnKasich1.mp4 00:20-01:12\n"
    )
    return tables


def test_hdtf_tables_give_sections_with_boxes_where_there_are_any(tmp_path):
    tables = hdtf_tables(tmp_path)
    videos = tmp_path / "videos"
    touch(videos / "RD_Radio1.mp4", videos / "ZoRK17RCZHY.mkv", videos / "JohnKasich0.mp4")
    clips = {clip.title: clip for clip in HDTFSource(tables, videos=videos).clips()}
    assert len(clips) == 5
    radio = clips["RD_Radio1_0"]
    assert (radio.begin, radio.end, radio.recording, radio.identity) == (20, 95, "CPCoMyuBRM0", "Radio1")
    assert radio.box is not None
    assert radio.box.in_picture(1920, 1080) == (912, 0, 2001, 1089), "a download of 1080 lines"
    later = clips["RD_Radio10_1"]
    assert (later.begin, later.end, later.box) == (3605, 3615, None), "hours, an id with &t=6s, no crop"
    assert later.recording == "ZoRK17RCZHY"
    assert clips["WRA_JohnKasich0_0"].recording == "-93rQjLe3Sw"
    assert clips["WRA_JohnKasich0_0"].identity == clips["WRA_JohnKasich1_0"].identity == "JohnKasich"
    assert clips["WRA_JohnKasich0_0"].split == clips["WRA_JohnKasich1_0"].split
    assert not clips["WRA_JohnKasich1_0"].path.exists()


def test_hdtf_clips_cut_by_readme_or_script_are_found(tmp_path):
    tables = hdtf_tables(tmp_path)
    touch(tmp_path / "clips" / "Radio1_0.mp4", tmp_path / "clips" / "RD_Radio10_001.mp4")
    clips = {clip.title: clip for clip in HDTFSource(tables, tmp_path / "clips").clips()}
    assert (clips["RD_Radio1_0"].path.name, clips["RD_Radio1_0"].box) == ("Radio1_0.mp4", None)
    assert (clips["RD_Radio10_1"].path.name, clips["RD_Radio10_1"].end) == ("RD_Radio10_001.mp4", None)


@pytest.mark.parametrize("span", ["00:20", "01:35-00:20", "00:a-00:b"])
def test_a_bad_hdtf_time_is_named(tmp_path, span):
    tables = hdtf_tables(tmp_path)
    touch(tmp_path / "videos" / "Radio1.mp4")
    (tables / "RD_annotion_time.txt").write_text(f"Radio1.mp4 {span}\n")
    with pytest.raises(SourceError, match=r"time .* of Radio1\.mp4"):
        HDTFSource(tables, videos=tmp_path / "videos").clips()
