"""Following one person through a clip, and what surrounds MediaPipe."""

import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from aniportrait.face import detector, landmarks
from aniportrait.face.canonical import CanonicalFace
from aniportrait.face.detector import DetectedFace, MissingLibraryError
from aniportrait.face.landmarks import FaceLandmarker, NoFaceError, fill_gaps
from aniportrait.face.task_file import TaskFileError, find_task_file
from aniportrait.face.track import FaceTrack

SIDE = 100


@pytest.fixture(scope="module")
def task_file():
    try:
        return find_task_file()
    except TaskFileError as error:
        pytest.skip(str(error))


def face_at(x: float, y: float, size: float) -> DetectedFace:
    """A face whose landmarks fill the square of `size` pixels about (x, y); z is its signature: x / 1000."""
    grid = np.random.default_rng(0).uniform(-0.5, 0.5, (478, 3))
    grid[0, :2], grid[1, :2] = -0.5, 0.5
    points = np.column_stack(
        ((x + size * grid[:, 0]) / SIDE, (y + size * grid[:, 1]) / SIDE, grid[:, 2] * 0.1)
    )
    half = size / 2
    return DetectedFace(
        points.astype(np.float32), np.full(52, x / SIDE, np.float32), (x - half, y - half, x + half, y + half)
    )


class ScriptedDetector:
    """Sees the faces that the script holds for the number written into a frame's first pixel."""

    script: list[list[DetectedFace]]

    def __init__(self, task_file, *, video):
        self.video = video

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def close(self):
        pass

    def faces(self, image, milliseconds=0):
        seen = sorted(self.script[int(image[0, 0, 0])], key=lambda face: -face.area)
        return seen[-1:] if self.video else seen  # the time filter may lock on to the wrong one


@pytest.fixture
def scripted(monkeypatch):
    """The landmarker sees what a script says."""
    rng = np.random.default_rng(1)
    canonical = CanonicalFace(
        rng.normal(size=(468, 3)).astype(np.float32),
        np.zeros((468, 2)),
        np.zeros((898, 3)),
        np.arange(33),
        np.ones(33),
    )
    monkeypatch.setattr(landmarks, "FaceDetector", ScriptedDetector)
    monkeypatch.setattr(landmarks, "find_task_file", lambda path: path)
    monkeypatch.setattr(landmarks, "load_canonical_face", lambda path: canonical)


@pytest.fixture(params=["image", "video"])
def tracked(request, scripted):
    def track(script: list[list[DetectedFace]]) -> FaceTrack:
        ScriptedDetector.script = script
        frames = (np.full((SIDE, SIDE, 3), index, dtype=np.uint8) for index in range(len(script)))
        with FaceLandmarker("any", mode=request.param) as landmarker:
            return landmarker.track(frames, fps=25.0)

    return track


def test_the_largest_face_is_followed_and_stays_the_same_person(tracked):
    ours = [face_at(30 + step, 50, 30) for step in range(6)]
    other = [face_at(75, 50, 20 + 6 * step) for step in range(6)]  # grows larger than ours
    track = tracked([list(pair) for pair in zip(other, ours, strict=True)])
    assert track.valid.all()
    np.testing.assert_allclose(track.blendshapes[:, 0], (30 + np.arange(6)) / SIDE, atol=1e-6)


def test_another_persons_face_does_not_fill_our_gap_and_the_gap_is_interpolated(tracked):
    other = face_at(80, 80, 28)
    track = tracked([[face_at(20, 20, 30), other], [other], [other], [face_at(26, 20, 30), other]])
    np.testing.assert_array_equal(track.valid, [True, False, False, True])
    np.testing.assert_allclose(track.blendshapes[:, 0], (0.20, 0.22, 0.24, 0.26), atol=1e-6)
    np.testing.assert_allclose(
        track.landmarks[1], track.landmarks[0] * 2 / 3 + track.landmarks[3] / 3, atol=1e-6
    )
    np.testing.assert_allclose(
        track.vertices[2], track.vertices[0] / 3 + track.vertices[3] * 2 / 3, atol=1e-4
    )


def test_frames_before_and_after_the_face_repeat_it_and_are_not_valid(tracked):
    track = tracked([[], [], [face_at(50, 50, 40)], [face_at(51, 50, 40)], []])
    np.testing.assert_array_equal(track.valid, [False, False, True, True, False])
    np.testing.assert_array_equal(track.landmarks[0], track.landmarks[2])
    np.testing.assert_allclose(track.pose_matrix[4], track.pose_matrix[3], atol=1e-6)


@pytest.mark.parametrize(
    ("about", "found"),
    [
        (None, 0.7),
        ((10, 30, 38, 58), 0.25),  # the face at 25, whose own box is 11 to 39 by 36 to 64
        ((60, 40, 80, 60), None),  # half as large as the face that is there
        ((40, 0, 68, 28), None),
    ],
)
def test_in_a_picture_the_largest_face_is_taken_or_the_one_that_is_where_it_must_be(scripted, about, found):
    ScriptedDetector.script = [[face_at(25, 50, 28), face_at(70, 50, 50)]]
    with FaceLandmarker("any") as landmarker:
        track = landmarker.detect(np.zeros((SIDE, SIDE, 3), np.uint8), about)
    assert track.valid[0] == (found is not None)
    assert track.blendshapes[0, 0] == pytest.approx(found or 0.0)


def test_a_clip_without_a_face_is_refused(tracked):
    with pytest.raises(NoFaceError, match="no face was found in any of the clip's 3 frames"):
        tracked([[], [], []])
    with pytest.raises(NoFaceError, match="clip's 0 frames"):
        tracked([])


def test_filling_a_whole_track_changes_nothing_and_an_empty_one_is_refused():
    track = FaceTrack(
        np.zeros((2, 478, 3)),
        np.zeros((2, 468, 3)),
        np.tile(np.eye(4), (2, 1, 1)),
        np.zeros((2, 52)),
        np.ones(2, bool),
    )
    assert fill_gaps(track) is track
    empty = FaceTrack(
        track.landmarks, track.vertices, track.pose_matrix, track.blendshapes, np.zeros(2, bool)
    )
    with pytest.raises(NoFaceError):
        fill_gaps(empty)


def test_a_picture_without_a_face_is_one_invalid_frame_and_stderr_stays_silent_and_alive(task_file, capfd):
    with FaceLandmarker(task_file) as landmarker:
        track = landmarker.detect(np.zeros((64, 96, 3), dtype=np.uint8))
        assert len(track) == 1
        assert not track.valid.any()
        assert landmarker.detections(np.zeros((64, 96, 3), dtype=np.uint8)) == []
    os.write(2, b"still here")
    assert capfd.readouterr().err == "still here"


def test_stderr_comes_back_after_an_error(capfd):
    def fail():
        with detector._silent_stderr():
            os.write(2, b"lost")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    os.write(2, b"kept")
    assert capfd.readouterr().err == "kept"


def test_pixels_that_are_no_rgb_picture_are_refused(task_file):
    with FaceLandmarker(task_file) as landmarker:
        for image in (
            np.zeros((8, 8, 4), np.uint8),
            np.zeros((8, 8, 3), np.float32),
            np.zeros((0, 8, 3), np.uint8),
        ):
            with pytest.raises(ValueError, match="must be RGB pixels"):
                landmarker.detect(image)
        frames = [np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)]
        with pytest.raises(ValueError, match=r"frame 1 has \(9, 8\) pixels"):
            landmarker.track(frames, fps=25.0)


def test_a_missing_system_library_is_answered_with_the_command_that_installs_it(monkeypatch, tmp_path):
    (tmp_path / "mediapipe").mkdir()
    broken = 'raise ImportError("libEGL.so.1: cannot open shared object file: No such file or directory")'
    (tmp_path / "mediapipe" / "__init__.py").write_text(broken)
    for name in [name for name in sys.modules if name.split(".")[0] == "mediapipe"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        MissingLibraryError, match=r"libEGL\.so\.1.*apt-get install -y libegl1 libgles2 libgl1"
    ):
        detector._import_mediapipe()


PROFILED = """
import os, signal, sys
from aniportrait.face import detector
from aniportrait.face.landmarks import FaceLandmarker

importing = detector._import_mediapipe

def fired():
    os.kill(os.getpid(), signal.SIGPROF)
    return importing()

detector._import_mediapipe = fired
FaceLandmarker(sys.argv[1]).open()
print("alive")
"""


def test_a_profiling_timer_that_fires_while_mediapipe_starts_ends_nothing(task_file):
    done = subprocess.run([sys.executable, "-c", PROFILED, str(task_file)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


@pytest.fixture(scope="module")
def portraits(shared):
    def read(name: str, size: int) -> np.ndarray:
        picture = cv2.imread(str(shared / f"data/portraits/aniportrait_{name}.png"))
        return cv2.cvtColor(cv2.resize(picture, (size, size)), cv2.COLOR_BGR2RGB)

    return {"large": read("lyl", 400), "small": np.pad(read("aragaki", 240), ((0, 160), (0, 0), (0, 0)))}


@pytest.mark.shared
def test_of_two_people_in_a_picture_the_larger_is_measured(portraits, task_file):
    with FaceLandmarker(task_file) as landmarker:
        for order in (("small", "large"), ("large", "small")):
            picture = np.concatenate([portraits[name] for name in order], axis=1)
            boxes = [face.box for face in landmarker.detections(picture)]
            assert len(boxes) == 2
            large_from = 240 if order[0] == "small" else 0
            assert large_from < boxes[0][0] < boxes[0][2] < large_from + 400
            centre = landmarker.detect(picture).landmarks[0, :, 0].mean() * 640
            assert boxes[0][0] < centre < boxes[0][2]


@pytest.mark.shared
def test_frames_with_padded_rows_are_read_aright(portraits, task_file):
    picture = portraits["large"]
    padded = np.zeros((400, 416, 3), dtype=np.uint8)[:, :400]
    padded[:] = picture
    with FaceLandmarker(task_file) as landmarker:
        np.testing.assert_array_equal(
            landmarker.detect(padded).landmarks, landmarker.detect(picture).landmarks
        )


@pytest.mark.shared
@pytest.mark.parametrize("mode", ["image", "video"])
def test_a_clip_is_measured_the_same_whatever_clip_came_before(portraits, task_file, mode):
    clip = [np.roll(portraits["large"], 3 * step, axis=1) for step in range(4)]
    before = [portraits["small"]] * 4
    with FaceLandmarker(task_file, mode=mode) as landmarker:
        first = landmarker.track(clip, fps=25.0)
        landmarker.track(before, fps=25.0)
        again = landmarker.track(clip, fps=25.0)
    np.testing.assert_array_equal(first.landmarks, again.landmarks)
    assert first.valid.all()
