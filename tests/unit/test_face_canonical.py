"""The metric mesh of a face whose mesh and pose are known because we projected it ourselves."""

import numpy as np
import pytest

from aniportrait.face.canonical import CanonicalFace, metric_mesh
from aniportrait.face.head_pose import rigid_matrix
from aniportrait.face.topology import LIPS

UPPER_LIP = np.array(
    (0, 13, 37, 39, 40, 61, 78, 80, 81, 82, 185, 191, 267, 269, 270, 291, 308, 310, 311, 312, 409, 415)
)
FOCAL = 1.0 / np.tan(np.radians(31.5))


def landmarks_of(camera_points: np.ndarray, width: int, height: int) -> np.ndarray:
    """What a perfect landmarker returns: x and y in perspective, z about the face on the scale of x."""
    depth = -camera_points[..., 2]
    mean_depth = depth.mean(axis=1, keepdims=True)
    x = 0.5 + 0.5 * FOCAL * height / width * camera_points[..., 0] / depth
    y = 0.5 - 0.5 * FOCAL * camera_points[..., 1] / depth
    z = 0.5 * FOCAL * height / width * (depth - mean_depth) / mean_depth
    return np.stack((x, y, z), axis=-1)


def seen(vertices: np.ndarray, head_pose: list[float], face: CanonicalFace, width=512, height=512):
    pose = rigid_matrix(np.array([head_pose], dtype=float))
    camera = vertices @ pose[:, :3, :3].transpose(0, 2, 1) + pose[:, None, :3, 3]
    mesh, pose_matrix = metric_mesh(landmarks_of(camera, width, height), width, height, face)
    return mesh[0], pose_matrix[0], pose[0]


@pytest.mark.parametrize(("width", "height"), [(512, 512), (1920, 1080), (224, 400)])
@pytest.mark.parametrize("head_pose", [[0, 0, 0, 0, 0, -45], [10, -20, 5, 3, -2, -60]])
def test_mesh_and_pose_of_a_projected_canonical_face_are_found_again(canonical, head_pose, width, height):
    vertices, found, pose = seen(canonical.vertices, head_pose, canonical, width, height)
    np.testing.assert_allclose(vertices, canonical.vertices, atol=1e-4)
    np.testing.assert_allclose(found, pose, atol=1e-4)


def test_head_motion_does_not_reach_the_mesh_but_an_open_mouth_does(canonical):
    opened = canonical.vertices.copy()
    lower_lip = np.setdiff1d(LIPS, UPPER_LIP)
    opened[lower_lip, 1] -= 1.0
    upright, _, _ = seen(opened, [0, 0, 0, 0, 0, -45], canonical)
    turned, _, _ = seen(opened, [-12, 25, 8, -4, 3, -60], canonical)
    np.testing.assert_allclose(upright, turned, atol=1e-4)
    np.testing.assert_allclose(upright, opened, atol=1e-4)


def test_frames_are_measured_one_by_one(canonical):
    rng = np.random.default_rng(1)
    landmarks = rng.uniform(0.2, 0.8, (5, 468, 3))
    together = metric_mesh(landmarks, 640, 480, canonical)
    alone = [metric_mesh(frame[None], 640, 480, canonical) for frame in landmarks]
    np.testing.assert_allclose(together[0], np.concatenate([mesh for mesh, _ in alone]), atol=1e-4)
    np.testing.assert_allclose(together[1], np.concatenate([pose for _, pose in alone]), atol=1e-4)


def test_the_bundle_holds_the_published_canonical_face(canonical):
    assert canonical.triangles.shape == (898, 3)
    assert canonical.uv.shape == (468, 2)
    assert len(canonical.procrustes_index) == len(canonical.procrustes_weight) == 33
    np.testing.assert_allclose(canonical.vertices[1], (0.0, -1.126865, 7.475604), atol=1e-5)


def test_landmarks_of_the_wrong_shape_are_named(canonical):
    with pytest.raises(ValueError, match=r"landmarks \(478, 3\) must have the shape"):
        metric_mesh(np.zeros((478, 3)), 512, 512, canonical)
