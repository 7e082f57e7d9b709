"""Faces equal the original's: projection, drawing, smoothing, metric mesh, and MediaPipe itself."""

import json

import cv2
import numpy as np
import pytest

from aniportrait.face import head_pose, topology
from aniportrait.face.canonical import load_canonical_face, metric_mesh
from aniportrait.face.draw import draw_pose_image
from aniportrait.face.landmarks import FaceLandmarker

pytestmark = pytest.mark.shared

PORTRAITS = ("Aragaki", "lyl", "solo")
SIZES = ((512, 512), (256, 384), (96, 64))  # height, width


@pytest.fixture(scope="module")
def projection(shared):
    return np.load(shared / "parity/projection/arrays.npz")


@pytest.fixture(scope="module")
def landmarks(shared):
    return np.load(shared / "parity/landmarks/arrays.npz")


@pytest.fixture(scope="module")
def task_file(shared):
    return shared / "models/face_landmarker_v2_with_blendshapes.task"


def test_edges_and_colours_are_the_originals(shared):
    config = json.loads((shared / "parity/projection/config.json").read_text())
    ours = [
        (*edge, *colour)
        for edge, colour in zip(topology.EDGES.tolist(), topology.EDGE_COLOURS.tolist(), strict=True)
    ]
    theirs = [(start, end, *colour) for start, end, colour, _ in config["edges_in_draw_order"]]
    assert sorted(ours) == sorted(theirs)
    colours_in_order = list(dict.fromkeys(edge[2:] for edge in theirs))
    assert list(dict.fromkeys(edge[2:] for edge in ours)) == colours_in_order
    closed = {tuple(edge) for edge in np.concatenate((topology.EDGES, topology.FOREHEAD_EDGES)).tolist()}
    assert closed == {(start, end) for start, end, _, _ in config["edges_forehead"]}


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_projected_points_and_drawn_images_are_the_originals(projection, height, width):
    matrices = head_pose.pose_matrices(projection["in.pose"], projection["in.trans_mat"])
    points = head_pose.project(projection["in.mesh"], matrices, width, height)
    expected = projection[f"out.points.{height}x{width}"]
    np.testing.assert_allclose(points * (width, height), expected, atol=1e-4, rtol=0)
    for frame, image in zip(points, projection[f"out.image.{height}x{width}"], strict=True):
        np.testing.assert_array_equal(draw_pose_image(frame, width, height), image)


def test_points_under_one_matrix_per_frame_are_the_originals(projection):
    matrices = head_pose.pose_matrices(projection["in.pose"], projection["in.trans_mat"])
    points = head_pose.project(projection["in.mesh"], matrices, 512, 512)
    np.testing.assert_allclose(points * 512, projection["out.points_with_trans.512x512"], atol=1e-4, rtol=0)


def test_the_closed_forehead_is_drawn_as_the_original_draws_it(projection):
    matrices = head_pose.pose_matrices(projection["in.pose"], projection["in.trans_mat"])
    points = head_pose.project(projection["in.mesh"], matrices, 512, 512)
    image = draw_pose_image(points[0], 512, 512, forehead=True)
    np.testing.assert_array_equal(image, projection["out.image_forehead.512x512"])


def test_lines_that_leave_the_screen_are_left_out_as_in_the_original(projection):
    image = draw_pose_image(projection["in.offscreen_normed"], 512, 512)
    np.testing.assert_array_equal(image, projection["out.image_offscreen_normed"])


@pytest.mark.parametrize("window", [5, 7])
def test_the_published_moving_average_is_the_originals(projection, window):
    sequence = np.tile(projection["in.pose"], (3, 1))
    smoothed = head_pose.smooth_head_pose_published(sequence, window)
    np.testing.assert_allclose(smoothed, projection[f"out.smooth{window}"], atol=1e-9)


def test_euler_angles_of_a_matrix_are_the_originals(projection):
    matrices = head_pose.pose_matrices(projection["in.pose"], projection["in.trans_mat"])
    np.testing.assert_allclose(
        head_pose.euler_and_translation(matrices), projection["out.euler_roundtrip"], atol=1e-6
    )


def test_canonical_triangles_are_the_originals(landmarks, task_file):
    np.testing.assert_array_equal(load_canonical_face(task_file).triangles, landmarks["out.faces"] - 1)


@pytest.mark.parametrize("name", PORTRAITS)
def test_metric_mesh_and_pose_follow_from_the_fixtures_landmarks(landmarks, task_file, name):
    vertices, pose_matrix = metric_mesh(
        landmarks[f"out.{name}.lmks"][None], 512, 512, load_canonical_face(task_file)
    )
    np.testing.assert_allclose(vertices[0], landmarks[f"out.{name}.lmks3d"], atol=1e-4, rtol=0)
    np.testing.assert_allclose(pose_matrix[0], landmarks[f"out.{name}.trans_mat"], atol=1e-4, rtol=0)
    points = head_pose.project(vertices, pose_matrix, 512, 512)
    np.testing.assert_allclose(points[0] * 512, landmarks[f"out.{name}.reprojected"], atol=1e-2, rtol=0)


@pytest.mark.parametrize("name", PORTRAITS)
def test_the_pose_image_of_a_portrait_is_the_originals(landmarks, name):
    image = draw_pose_image(landmarks[f"out.{name}.lmks"], 512, 512)
    np.testing.assert_array_equal(image, landmarks[f"out.{name}.pose_image"])


def test_mediapipe_at_hand_measures_the_portraits_as_the_original_did(shared, landmarks, task_file):
    with FaceLandmarker(task_file) as landmarker:
        for name in PORTRAITS:
            picture = cv2.imread(str(shared / f"data/portraits/aniportrait_{name.lower()}.png"))
            picture = cv2.cvtColor(cv2.resize(picture, (512, 512)), cv2.COLOR_BGR2RGB)
            track = landmarker.detect(picture)
            assert track.valid.all()
            np.testing.assert_allclose(track.vertices[0], landmarks[f"out.{name}.lmks3d"], atol=0.05, rtol=0)
            np.testing.assert_allclose(
                track.pose_matrix[0], landmarks[f"out.{name}.trans_mat"], atol=0.05, rtol=0
            )
            np.testing.assert_allclose(track.landmarks[0], landmarks[f"out.{name}.lmks"], atol=1e-3, rtol=0)
            np.testing.assert_allclose(
                track.blendshapes[0, 1:], landmarks[f"out.{name}.bs"], atol=0.01, rtol=0
            )
