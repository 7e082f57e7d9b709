"""The gates: other faces, gaps, blur, yaw, silence, sound beside the lips; and what must not be dropped."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from bright_faces import BrightSquareLandmarker, OneFilm, bright_faces, dark, face, prepared, samples, tone

from aniportrait.data import clip_sound, workers
from aniportrait.data.gates import Gates, longest_run
from aniportrait.data.sync import SyncMeasurement
from aniportrait.face.head_pose import matrix_from_euler

pytestmark = pytest.mark.usefixtures(bright_faces.__name__)


def dropped(tmp_path, source, **options) -> str:
    """The reason why the only clip of a source is dropped."""
    with pytest.raises(ValueError, match="none of 1 clips can be used") as caught:
        prepared(source, tmp_path / "out", **options)
    return str(caught.value)


def with_other_face(small: int):
    picture = face(width=320, x=20, side=80)
    picture[:, 160:] = face(x=60, side=small)
    return [picture] * 30


def test_the_largest_face_is_taken_and_another_one_is_a_reason_only_if_one_wants_it(tmp_path):
    report = prepared(OneFilm(tmp_path, with_other_face(60)), tmp_path / "out", min_face_height=50.0)
    assert report["samples"][0]["figures"]["other_face"] == pytest.approx(0.75, abs=0.02)
    x0, _, x1, _ = samples(tmp_path / "out")[0].meta.crop
    assert x0 <= 20
    assert x1 >= 100
    asked = {"min_face_height": 50.0, "largest_other_face": 0.7}
    said = dropped(tmp_path / "b", OneFilm(tmp_path, with_other_face(60)), **asked)
    assert "another face of 0.75 times the height is seen in 100 %" in said
    assert prepared(OneFilm(tmp_path, with_other_face(40)), tmp_path / "c", **asked)["kept"] == 1


@pytest.mark.parametrize("glances", [1, 2, 4])
def test_another_face_is_a_reason_from_a_tenth_of_the_glances_on(tmp_path, glances):
    """160 frames are looked at 20 times: every eighth."""
    alone, beside = face(width=320, x=20, side=80), with_other_face(60)[0]
    film = OneFilm(tmp_path, [beside] * (8 * glances) + [alone] * (160 - 8 * glances))
    asked = {"min_face_height": 50.0, "largest_other_face": 0.7}
    if glances < 2:
        assert prepared(film, tmp_path / "out", **asked)["kept"] == 1
    else:
        assert f"is seen in {5 * glances} % of the frames looked at, at most 0.7" in dropped(
            tmp_path, film, **asked
        )


def test_a_face_that_is_away_too_long_is_a_reason(tmp_path):
    frames = [face()] * 100 + [dark()] * 15 + [face()] * 60
    assert prepared(OneFilm(tmp_path, frames), tmp_path / "kept")["kept"] == 1
    assert "the face is away for 0.60 s at a time, at most 0.5 s" in dropped(
        tmp_path, OneFilm(tmp_path, frames), longest_gap=0.5
    )


def test_sharpness_is_measured_though_the_face_is_away_whenever_it_was_to_be(tmp_path):
    frames = [dark() if k % 12 == 0 else face() for k in range(40)]
    report = prepared(OneFilm(tmp_path, frames), tmp_path / "out", min_sharpness=0.1)
    whole = prepared(OneFilm(tmp_path, [face()] * 40), tmp_path / "whole", min_sharpness=0.1)
    measured, expected = (found["samples"][0]["figures"]["sharpness"] for found in (report, whole))
    assert measured == pytest.approx(expected, rel=0.2)


def test_a_blurred_face_is_dropped(tmp_path):
    blurred = [cv2.GaussianBlur(face(), (0, 0), 8)] * 30
    said = dropped(tmp_path, OneFilm(tmp_path, blurred), image_size=256)
    assert "the face is blurred: sharpness" in said
    assert prepared(OneFilm(tmp_path, blurred), tmp_path / "kept", min_sharpness=0.0)["kept"] == 1


def test_silence_is_a_reason_only_if_one_wants_sound(tmp_path):
    half = np.concatenate((tone(1), np.zeros(16_000, np.float32)))
    film = OneFilm(tmp_path, [face()] * 50, half)
    report = prepared(film, tmp_path / "kept")
    assert report["samples"][0]["figures"]["sound"] == pytest.approx(0.5, abs=0.06)
    assert "audible in 5" in dropped(tmp_path, film, min_sound=0.8)
    assert clip_sound._audible_share(tone(0.5), 50, 25.0) == 0.24, "what is missing is silent"
    silent = OneFilm(tmp_path, [face()] * 50)
    assert "audible in 0 % of the time, at least 1 %" in dropped(tmp_path, silent, min_sound=0.01)


@pytest.mark.parametrize("lag", [0.2, -0.2])
def test_sound_that_is_clearly_off_is_shifted_to_the_lips(tmp_path, monkeypatch, lag):
    clicks = np.zeros(3 * 16_000, np.float32)
    clicks[24_000] = 0.9
    film = OneFilm(tmp_path, [face()] * 75, clicks)
    monkeypatch.setattr(clip_sound, "measure_sync", lambda *_: SyncMeasurement(lag, 0.4, 9.0))
    report = prepared(film, tmp_path / "out")
    (sample,) = samples(tmp_path / "out")
    assert sample.audio is not None
    assert len(sample.audio) == 75 * 640
    assert abs(int(np.abs(sample.audio).argmax()) - (24_000 - round(lag * 16_000))) < 200
    word = "late" if lag > 0 else "early"
    assert report["mended"][0]["notes"] == [f"sound shifted: it was 0.20 s {word} (confidence 9.0)"]
    assert report["samples"][0]["figures"]["sync_lag"] == lag


@pytest.mark.parametrize(
    ("measured", "options", "said"),
    [
        (SyncMeasurement(0.6, 0.0, 9.0), {}, "the sound is 0.60 s late (confidence 9.0), at most 0.4 s"),
        (
            SyncMeasurement(-0.2, 0.0, 9.0),
            {"longest_shift": 0.0},
            "0.20 s early (confidence 9.0), at most 0 s",
        ),
        (SyncMeasurement(0.0, 0.1, 3.0), {"min_agreement": 0.15}, "agree by 0.10, at least 0.15"),
        (None, {"min_agreement": 0.15}, "nothing can be told of whether sound and lips agree"),
    ],
)
def test_sound_that_does_not_belong_to_the_lips_is_a_reason(tmp_path, monkeypatch, measured, options, said):
    monkeypatch.setattr(clip_sound, "measure_sync", lambda *_: measured)
    assert said in dropped(tmp_path, OneFilm(tmp_path, [face()] * 75, tone(3)), **options)


@pytest.mark.parametrize(
    "measured",
    [None, SyncMeasurement(0.9, 0.0, 4.9), SyncMeasurement(0.15, 0.4, 12.0), SyncMeasurement(0.0, 0.0, 2.0)],
    ids=["nothing to tell", "uncertain", "tolerated", "no agreement"],
)
def test_what_is_not_certain_changes_nothing(tmp_path, monkeypatch, measured):
    monkeypatch.setattr(clip_sound, "measure_sync", lambda *_: measured)
    report = prepared(OneFilm(tmp_path, [face()] * 75, tone(3)), tmp_path / "out")
    assert (report["kept"], report["mended"]) == (1, [])


def test_variable_rates_rotation_and_odd_sizes_come_out_right(tmp_path):
    """A face that lies on its side in the file, in frames of odd size, shown for 40 and 80 ms by turns."""
    path = tmp_path / "clips" / "film.mp4"
    path.parent.mkdir()
    upright = face(width=121, height=161, x=25, y=70, side=70)
    lying = np.rot90(upright, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(lying[:120, :160]), format="rgb24")
            frame.pts, frame.time_base = number // 2 * 120 + number % 2 * 40, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    turn_clockwise(path, height=120)
    report = prepared(path.parent, tmp_path / "out")
    (sample,) = samples(tmp_path / "out")
    assert abs(sample.meta.frames - 29) <= 1, "20 frames last 1.16 s"
    assert report["mended"] == []
    x0, y0, x1, y1 = sample.meta.crop
    assert x1 - x0 == 120
    assert (y0 + y1) / 2 == pytest.approx(105, abs=16), "the face is in the lower half of the upright picture"


def turn_clockwise(path: Path, height: int) -> None:
    """Write the rotation that a phone writes into the file's header."""
    data = bytearray(path.read_bytes())
    unturned = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    clockwise = struct.pack(">9i", 0, 0x10000, 0, -0x10000, 0, 0, height << 16, 0, 0x40000000)
    matrix = data.index(unturned, data.index(b"tkhd"))
    data[matrix : matrix + 36] = clockwise
    path.write_bytes(data)


class TurningHead(BrightSquareLandmarker):
    """Finds bright squares whose heads are turned by (pitch, yaw, roll) in the last frames of a clip."""

    def __init__(self, degrees, frames: int):
        super().__init__()
        self.degrees, self.frames = degrees, frames

    def track(self, frames, fps, start=None):
        track = super().track(frames, fps, start)
        track.pose_matrix[-self.frames :, :3, :3] = matrix_from_euler(np.array(self.degrees))
        return track


@pytest.mark.parametrize("yaw", [50, -50])
def test_a_head_that_turns_too_far_in_more_than_a_twentieth_of_a_clip_is_a_reason(tmp_path, monkeypatch, yaw):
    monkeypatch.setattr(workers, "_landmarker", lambda task_file: TurningHead((0.0, yaw, 0.0), 4))
    film = OneFilm(tmp_path, [face()] * 50)
    said = dropped(tmp_path, film, max_yaw=45.0)
    assert "the head turns by 50 degrees (95 % of the frames stay within), at most 45 are allowed" in said
    for kept, limit in (("wide", 51.0), ("open", None)):
        report = prepared(film, tmp_path / kept, max_yaw=limit)
        assert report["samples"][0]["figures"]["widest_yaw"] == 50.0


@pytest.mark.parametrize(("degrees", "frames"), [((0.0, 50.0, 0.0), 2), ((50.0, 0.0, 50.0), 50)])
def test_a_glance_aside_and_a_nod_are_none(tmp_path, monkeypatch, degrees, frames):
    monkeypatch.setattr(workers, "_landmarker", lambda task_file: TurningHead(degrees, frames))
    report = prepared(OneFilm(tmp_path, [face()] * 50), tmp_path / "out", max_yaw=45.0)
    assert report["samples"][0]["figures"]["widest_yaw"] < 1


@pytest.mark.parametrize(
    "options", [{"min_sound": 1.5}, {"min_seconds": -1}, {"longest_shift": -0.1}, {"max_yaw": -3}]
)
def test_a_threshold_that_cannot_be_is_named(options):
    with pytest.raises(ValueError, match=rf"gates\.{next(iter(options))}"):
        Gates(**options)


def test_the_longest_run_is_counted_in_frames():
    assert longest_run(np.array([True, False, True, True, True, False, True])) == 3
    assert longest_run(np.zeros(5, bool)) == 0
    assert longest_run(np.ones(5, bool)) == 5
