"""A film's face in a file: read as it was written, at any rate, or refused in one sentence."""

import io
import zipfile

import numpy as np
import pytest

from aniportrait.face.head_pose import rigid_matrix
from aniportrait.face.track import FaceTrack
from aniportrait.pipelines.head_motion import PoseTemplate
from aniportrait.pipelines.landmark_track import LandmarkTrack, resampled_track, there_and_back

ARRAYS = ("landmarks", "vertices", "pose_matrix", "blendshapes", "valid")


def track(frames=6, fps=25.0):
    """Every number of frame i is i / 8, and the head has turned by i degrees."""
    amount = np.arange(frames, dtype=np.float32) / 8
    poses = np.zeros((frames, 6))
    poses[:, 1], poses[:, 5] = np.arange(frames), -30
    face = FaceTrack(
        np.broadcast_to(amount[:, None, None], (frames, 478, 3)).copy(),
        np.broadcast_to(amount[:, None, None], (frames, 468, 3)).copy(),
        rigid_matrix(poses).astype(np.float32),
        np.broadcast_to(amount[:, None], (frames, 52)).copy(),
        np.ones(frames, bool),
    )
    return LandmarkTrack(face, fps)


def stored(**changes):
    face = track().face
    return {name: getattr(face, name) for name in ARRAYS} | {"fps": 25.0} | changes


def test_a_track_is_read_as_it_was_written_to_an_eighth_of_a_pixel_of_512(tmp_path):
    written = track()
    written.face.landmarks[:] += np.random.default_rng(1).uniform(0, 1, written.face.landmarks.shape)
    written.face.vertices[:] += np.random.default_rng(2).uniform(-8, 8, written.face.vertices.shape)
    written.save(tmp_path / "new" / "film.npz")
    read = LandmarkTrack.load(tmp_path / "new" / "film.npz")
    assert read.fps == 25.0
    assert np.abs(read.face.landmarks - written.face.landmarks).max() <= 0.125 / 512
    assert np.abs(read.face.vertices - written.face.vertices).max() <= 0.002
    for name in ("pose_matrix", "blendshapes", "valid"):
        assert np.array_equal(getattr(read.face, name), getattr(written.face, name))
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["film.npz"]


def test_a_minute_takes_less_than_ten_megabytes(tmp_path):
    second = track(frames=25)
    rng = np.random.default_rng(3)
    second.face.landmarks[:] = rng.uniform(0, 1, second.face.landmarks.shape)
    second.face.vertices[:] = rng.uniform(-8, 8, second.face.vertices.shape)
    second.save(tmp_path / "film.npz")  # noise: no film is larger
    assert (tmp_path / "film.npz").stat().st_size * 60 < 10e6


def test_a_film_is_played_at_another_rate_and_backwards_where_it_is_too_short():
    film = track(frames=5, fps=25.0)
    assert film.at(50.0).face.landmarks[:, 0, 0] * 8 == pytest.approx(
        [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 3.5]
    )
    longer = film.played(11, 25.0)
    assert longer.face.vertices[:, 7, 2] * 8 == pytest.approx([0, 1, 2, 3, 4, 3, 2, 1, 0, 1, 2])
    assert film.played(3, 12.5).face.blendshapes[:, 9] * 8 == pytest.approx([0, 2, 4])
    assert film.played(5, 25.0) is film
    assert track(frames=1).played(4, 25.0).face.vertices.shape == (4, 468, 3)


def test_between_frames_heads_turn_at_constant_speed_and_keep_their_scale():
    film = track(frames=2).face
    film.pose_matrix[:, :3, :3] *= 1.1
    film.pose_matrix[1, :3, :3] = 1.1 * rigid_matrix(np.array([[0, 90, 0, 0, 0, 0]]))[0, :3, :3]
    half = resampled_track(film, np.array([0.5])).pose_matrix[0]
    assert half[:3, :3] == pytest.approx(
        1.1 * rigid_matrix(np.array([[0, 45, 0, 0, 0, 0]]))[0, :3, :3], abs=1e-6
    )


def test_a_frame_between_is_valid_if_its_neighbours_are():
    film = track(frames=4).face
    film.valid[2] = False
    assert resampled_track(film, np.array([0, 0.5, 1, 1.5, 2, 2.5, 3])).valid.tolist() == (
        [True, True, True, False, False, False, True]
    )


def test_frames_without_a_face_are_filled_from_their_neighbours_when_read(tmp_path):
    arrays = stored(valid=np.array([False, True, True, False, True, True]))
    for name in ("landmarks", "vertices", "blendshapes", "pose_matrix"):
        arrays[name][[0, 3]] = 0.0
    np.savez(tmp_path / "film.npz", **arrays)
    face = LandmarkTrack.load(tmp_path / "film.npz").face
    assert face.vertices[:, 0, 0] * 8 == pytest.approx([1, 1, 2, 3, 4, 5])
    assert face.valid.tolist() == [False, True, True, False, True, True]


def test_numbers_of_any_kind_are_taken(tmp_path):
    np.savez(tmp_path / "film.npz", **stored(vertices=track().face.vertices.astype(np.float16)))
    assert LandmarkTrack.load(tmp_path / "film.npz").face.vertices.dtype == np.float32


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"vertices": np.zeros((6, 478, 3))},
            r"vertices \(6, 478, 3\) must have the shape \(frames, 468, 3\)",
        ),
        ({"landmarks": np.zeros((5, 478, 3))}, r"landmarks \(5, 478, 3\) must have the shape"),
        ({"valid": np.array(True)}, "must have the shape"),
        ({"valid": np.zeros(0, bool)}, "must have the shape"),
        ({"valid": np.ones(6)}, r"valid \(float64\) must be booleans"),
        ({"blendshapes": np.full((6, 52), "up")}, r"blendshapes \(<U2\) must be numbers"),
        ({"vertices": np.full((6, 468, 3), np.nan)}, "vertices must hold finite numbers"),
        ({"valid": np.zeros(6, bool)}, "no valid frame"),
        ({"pose_matrix": np.zeros((6, 4, 4))}, "pose_matrix must turn a face"),
        ({"pose_matrix": np.tile(np.eye(4), (6, 1, 1))}, "before the camera"),
        ({"fps": 0.0}, r"fps \(0.0\) must be above 0"),
        ({"fps": np.nan}, "fps"),
        ({"fps": np.array("fast")}, "cannot be read"),
        ({"landmarks": np.array([object()] * 6)}, "cannot be read"),
    ],
)
def test_a_track_that_cannot_be_one_is_refused(tmp_path, changes, words):
    np.savez(tmp_path / "film.npz", **stored(**changes))
    with pytest.raises(ValueError, match=rf"landmark track .*film\.npz.*{words}"):
        LandmarkTrack.load(tmp_path / "film.npz")


@pytest.mark.parametrize("size", [0, 3, 0.5, 0.999])
def test_half_a_track_is_refused(tmp_path, size):
    track().save(tmp_path / "film.npz")
    written = (tmp_path / "film.npz").read_bytes()
    (tmp_path / "film.npz").write_bytes(written[: int(size if size >= 1 else size * len(written))])
    with pytest.raises(ValueError, match=r"landmark track .*film\.npz cannot be read"):
        LandmarkTrack.load(tmp_path / "film.npz")


@pytest.mark.parametrize("place", [0.2, 0.5, 0.8])
def test_a_damaged_track_is_refused(tmp_path, place):
    track().save(tmp_path / "film.npz")
    written = bytearray((tmp_path / "film.npz").read_bytes())
    start = int(place * len(written))
    written[start : start + 20] = bytes(20)
    (tmp_path / "film.npz").write_bytes(written)
    with pytest.raises(ValueError, match="landmark track"):
        LandmarkTrack.load(tmp_path / "film.npz")


def test_other_files_are_refused_and_say_who_writes_tracks(tmp_path):
    np.savez(tmp_path / "nod.npz", head_pose=np.zeros((3, 6)), fps=25.0)
    np.save(tmp_path / "pose_temp.npy", np.zeros((3, 6)))
    (tmp_path / "notes.npz").write_text("no archive")
    for name, words in (
        ("nod.npz", r"holds no landmarks, vertices, .*pose_template\.py writes such files"),
        ("pose_temp.npy", r"holds no landmarks, .*pose_template\.py writes such files"),
        ("notes.npz", r"cannot be read \(it holds no plain arrays\)"),
        ("absent.npz", "cannot be read"),
        (".", "cannot be read"),
    ):
        with pytest.raises(ValueError, match=f"landmark track .*{words}"):
            LandmarkTrack.load(tmp_path / name)


def test_a_header_that_asks_for_more_memory_than_there_is_is_refused(tmp_path):
    header = io.BytesIO()
    described = {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 478, 3)}
    np.lib.format.write_array_header_1_0(header, described)
    np.savez(
        tmp_path / "film.npz", **{name: value for name, value in stored().items() if name != "landmarks"}
    )
    with zipfile.ZipFile(tmp_path / "film.npz", "a") as archive:
        archive.writestr("landmarks.npy", header.getvalue())
    with pytest.raises(ValueError, match=r"landmark track .* cannot be read"):
        LandmarkTrack.load(tmp_path / "film.npz")


def test_a_tracks_file_is_a_head_motion_as_well(tmp_path):
    track().save(tmp_path / "film.npz")
    template = PoseTemplate.load(tmp_path / "film.npz")
    assert template.fps == 25.0
    assert template.head_pose[0] == pytest.approx(np.zeros(6), abs=1e-6)
    assert template.head_pose[-1, 1] == pytest.approx(
        4 - 1, abs=0.01
    )  # means of five, and of three at the ends
    (tmp_path / "film.npz").write_bytes((tmp_path / "film.npz").read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"head pose template .* cannot be read"):
        PoseTemplate.load(tmp_path / "film.npz")


def test_places_in_a_film_turn_back_at_both_ends():
    assert there_and_back(8, 1.0, 3).tolist() == [0, 1, 2, 1, 0, 1, 2, 1]
    assert there_and_back(3, 0.4, 1).tolist() == [0, 0, 0]
