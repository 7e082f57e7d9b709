"""Preparation: what is kept, what is dropped and why."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from bright_faces import bright_box, bright_faces, dark, face, mixed_folder, preparation, prepared, tone

from aniportrait.data import clip_preparation
from aniportrait.data.clip_codec import decode_frames
from aniportrait.data.clip_preparation import PreparationSettings, clip_crop
from aniportrait.data.folder import FolderSource
from aniportrait.data.media import write_video
from aniportrait.data.neutral import MOUTH, neutral_mesh
from aniportrait.data.preprocess import NothingKeptError, Preparation
from aniportrait.data.shards import ShardIndex, read_sample
from aniportrait.data.sound import MediaError
from aniportrait.face.track import FaceTrack


@pytest.fixture(autouse=True)
def _faces(request):
    if "shared" not in request.keywords:
        request.getfixturevalue(bright_faces.__name__)


def test_good_clips_are_kept_and_bad_ones_dropped_with_their_reason(tmp_path):
    report = prepared(mixed_folder(tmp_path / "clips"), tmp_path / "out")
    assert report == json.loads((tmp_path / "out" / "report.json").read_text())
    reasons = {Path(drop["clip"]).name[0]: drop["reason"] for drop in report["dropped"]}
    assert (report["clips"], report["kept"], set(reasons)) == (11, 5, set("defgjk"))
    assert "no face is seen" in reasons["d"]
    assert "1 frame (0.04 s), at least 0.5 s are needed" in reasons["e"]
    assert "20 pixels high (median), at least 64" in reasons["f"]
    assert "48 % of 25 frames, at least 80 %" in reasons["g"]
    assert "j text.mp4 is not a video" in reasons["j"]
    assert "empty" in reasons["k"]
    notes = {Path(mend["clip"]).name[0]: " ".join(mend["notes"]) for mend in report["mended"]}
    assert set(notes) == set("chi")
    assert "silent" in notes["c"]
    assert "interpolated in 2 of 30" in notes["h"]
    assert "damaged" in notes["i"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "index.json", "report.json", "shard-000000.tar", "shard-000001.tar", "shard-000002.tar",
    ]  # fmt: skip


def test_a_kept_clip_is_a_square_about_the_face_at_the_constant_rate(tmp_path):
    prepared(mixed_folder(tmp_path / "clips"), tmp_path / "out")
    index = ShardIndex.load(tmp_path / "out")
    assert (index.fps, index.image_size) == (25.0, 64)
    good, odd = (read_sample(index.folder, entry) for entry in index.samples[:2])
    assert good.meta.key == "a-good-1"
    assert good.meta.source == "a good (1).mp4"
    assert (good.meta.frames, odd.meta.frames) == (30, 40), "48 frames at 30 fps are 40 at 25"
    assert good.audio is not None
    assert len(good.audio) == 30 * 640
    assert odd.audio is None
    x0, y0, x1, y1 = good.meta.crop
    assert x1 - x0 == y1 - y0 == 120, "1.8 x 70 pixels would be 126: shrunk to the picture's height"
    assert (y0, x0) == (0, 15), "centred on the face sideways"
    picture = decode_frames(good.video, [7])[0]
    np.testing.assert_allclose(
        bright_box(picture), good.track.landmarks[7, [0, -1], :2].reshape(-1), atol=0.02
    )
    np.testing.assert_allclose(good.track.landmarks[7, 0, :2], (25 / 120, 30 / 120), atol=0.02)


def test_thresholds_are_arguments(tmp_path):
    folder = mixed_folder(tmp_path / "clips")
    report = prepared(folder, tmp_path / "out", min_detection_rate=0.4, min_face_height=10.0, min_seconds=0.0)
    assert {Path(drop["clip"]).name[0] for drop in report["dropped"]} == set("djk")
    for options in (
        {"image_size": 33},
        {"fps": 0.0},
        {"min_detection_rate": 1.1},
        {"margin": -1.0},
        {"scenes": "no"},
    ):
        with pytest.raises(ValueError, match=next(iter(options))):
            preparation(folder, tmp_path, **options)


def test_nothing_kept_is_an_error_that_gives_the_reasons(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    write_video(folder / "dark.mp4", [dark()] * 20, 25.0)
    (folder / "text.mp4").write_text("no")
    with pytest.raises(
        NothingKeptError, match=r"none of 2 clips can be used \(dark\.mp4: no face .*; text\.mp4: "
    ):
        prepared(folder, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "report.json").read_text())["kept"] == 0
    assert not (tmp_path / "out" / "index.json").exists()


def test_clips_of_one_name_get_different_keys(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("a b.mp4", "a-b.mp4", "a+b.mov", "ü.mp4"):
        write_video(folder / name, [face()] * 20, 25.0)
    prepared(folder, tmp_path / "out")
    keys = [entry.key for entry in ShardIndex.load(tmp_path / "out").samples]
    assert len(set(keys)) == 4
    assert "clip" in keys


def test_sections_that_begin_together_get_different_keys_and_one_listed_twice_is_named(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    write_video(folder / "a.mp4", [face()] * 50, 25.0)
    table = tmp_path / "table.csv"
    table.write_text("file,begin,end\na.mp4,0,1\na.mp4,0,2\n")
    prepared(FolderSource(folder, table), tmp_path / "out")
    assert sorted(entry.frames for entry in ShardIndex.load(tmp_path / "out").samples) == [25, 50]
    twice = FolderSource(folder).clips() * 2
    with pytest.raises(ValueError, match=r"the source lists .*a\.mp4 \(a\) twice"):
        prepared(SimpleNamespace(clips=lambda: twice), tmp_path / "twice")
    assert not (tmp_path / "twice").exists(), "found before any work is done"


def test_a_piece_that_cannot_be_read_costs_no_other_piece(tmp_path, monkeypatch):
    folder = tmp_path / "clips"
    folder.mkdir()
    write_video(folder / "a.mp4", [face()] * 75, 25.0, tone(3))
    original = clip_preparation.clip_sound

    def broken_in_the_middle(piece, film, begin, *rest):
        if begin == 1.0:
            raise MediaError("the sound is broken here")
        return original(piece, film, begin, *rest)

    monkeypatch.setattr(clip_preparation, "clip_sound", broken_in_the_middle)
    report = prepared(folder, tmp_path / "out", longest_seconds=1.0)
    assert [sample["key"] for sample in report["samples"]] == ["a--1", "a--3"]
    assert [drop["reason"] for drop in report["dropped"]] == ["the sound is broken here"]


def test_the_square_of_a_clip_holds_every_face_and_stays_inside_if_it_can():
    def corners(x0, y0, x1, y1):
        return np.array([[[x0, y0, 0], [x1, y1, 0]]], np.float32)

    moving = np.concatenate((corners(0.1, 0.4, 0.2, 0.6), corners(0.3, 0.4, 0.4, 0.6)))
    crop = clip_crop(moving, 1000, 500, 0.4)
    assert (crop.x0, crop.x1) == (0, 500), (
        "1.8 x 300 pixels would be 540: shrunk to the height, shifted inside"
    )
    assert (crop.y0, crop.y1) == (0, 500)
    tight = clip_crop(corners(0.0, 0.0, 1.0, 1.0), 200, 200, 0.4)
    assert tight.side == 240, "a face as large as the picture keeps the least margin"
    assert (tight.x0, tight.y0) == (-20, -20)


def test_the_neutral_mesh_is_the_mean_of_the_quietest_valid_frames():
    activity = np.array([0.5, 0.0, 0.1, 0.9, 0.2] * 4, np.float32)
    blendshapes = np.zeros((20, 52), np.float32)
    blendshapes[:, MOUTH[0]] = activity
    vertices = np.broadcast_to(np.arange(20.0)[:, None, None], (20, 468, 3)).astype(np.float32)
    valid = np.ones(20, bool)
    valid[1] = False
    track = FaceTrack(np.zeros((20, 478, 3)), vertices, np.zeros((20, 4, 4)), blendshapes, valid)
    np.testing.assert_allclose(neutral_mesh(track), (6 + 11) / 2)
    with pytest.raises(ValueError, match="no neutral mesh"):
        neutral_mesh(FaceTrack(track.landmarks, vertices, track.pose_matrix, blendshapes, np.zeros(20, bool)))


@pytest.mark.shared
def test_a_filmed_clip_is_prepared_with_the_landmarker_itself(shared, tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    os.symlink(shared / "data" / "clips" / "grid_bbaf2n.mp4", folder / "grid.mp4")
    settings = PreparationSettings(image_size=128)
    report = Preparation(FolderSource(folder), tmp_path / "out", settings).run(workers=0)
    assert (report["kept"], report["dropped"], report["mended"]) == (1, [], [])
    sample = read_sample(tmp_path / "out", ShardIndex.load(tmp_path / "out").samples[0])
    assert sample.meta.frames == 75
    assert sample.track.valid.all()
    assert sample.audio is not None
    assert len(sample.audio) == 3 * 16_000
    size = np.ptp(sample.track.landmarks[..., :2], axis=1).max(axis=1)
    assert ((size > 0.35) & (size < 0.75)).all(), (
        "Hallo's rule: the face fills half to two thirds of the square"
    )
    assert 10 < np.ptp(sample.neutral_vertices[:, 1]) < 25, "a face at rest is 10 to 25 cm high"
