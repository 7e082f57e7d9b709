"""Poses, smoothing and the camera, by their own arithmetic."""

import numpy as np
import pytest

from aniportrait.face import head_pose


def poses(frames: int) -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.uniform(-1, 1, (frames, 6)) * (60, 60, 60, 5, 5, 5)


def test_euler_angles_are_extrinsic_x_then_y_then_z():
    x, y, z = (
        head_pose.matrix_from_euler(np.array(angles)) for angles in ((30, 0, 0), (0, 40, 0), (0, 0, 50))
    )
    np.testing.assert_allclose(head_pose.matrix_from_euler(np.array((30, 40, 50))), z @ y @ x, atol=1e-12)


def test_euler_angles_come_back_from_their_matrix_whatever_its_scale():
    euler = poses(7)[:, :3].reshape(7, 1, 3)
    matrix = head_pose.matrix_from_euler(euler)
    assert matrix.shape == (7, 1, 3, 3)
    np.testing.assert_allclose(head_pose.euler_from_matrix(1.07 * matrix), euler, atol=1e-9)


def test_motion_relative_to_a_reference_is_undone_by_placing_it_there():
    reference = head_pose.rigid_matrix(np.array([[4, -6, 2, 0.7, 1.2, -45]]))[0]
    motion = poses(9)
    placed = head_pose.pose_matrices(motion, reference)
    np.testing.assert_allclose(head_pose.relative_head_pose(placed, reference), motion, atol=1e-9)
    np.testing.assert_allclose(head_pose.relative_head_pose(reference[None], reference), 0, atol=1e-9)


def test_a_head_held_and_placed_as_the_filmed_one_moves_exactly_as_it_does():
    reference = head_pose.rigid_matrix(np.array([[4, -6, 2, 0.7, 1.2, -45]]))[0]
    placed = head_pose.pose_matrices(poses(9), reference)
    known = head_pose.relative_head_pose(placed, reference)
    np.testing.assert_allclose(head_pose.retargeted_head_pose(placed, reference, reference), known, atol=1e-9)


def test_a_filmed_head_moves_another_by_as_many_of_its_sizes_and_by_the_same_factor():
    reference, onto = head_pose.rigid_matrix(np.array([[0, 0, 0, 3, 0, -30], [0, 50, 0, -1, 2, -60.0]]))
    moved = head_pose.rigid_matrix(np.array([[0, 0, 0, 6, 0, -15.0]]))
    motion = head_pose.retargeted_head_pose(moved, reference, onto)
    placed = head_pose.pose_matrices(motion, onto)[0]
    np.testing.assert_allclose(placed[:3, 3], (-0.5 + 4.5, 1, -30), atol=1e-9)
    np.testing.assert_allclose(placed[:3, :3], onto[:3, :3], atol=1e-9)


def test_smoothing_on_rotations_crosses_180_degrees_where_the_published_average_does_not():
    turning = np.zeros((2, 6))
    turning[:, 2] = (179, -179)
    assert head_pose.smooth_head_pose_published(turning, 3)[0, 2] == pytest.approx(0)
    assert abs(head_pose.smooth_head_pose(turning, 3)[0, 2]) == pytest.approx(180)


def test_smoothing_keeps_a_still_head_and_averages_turns_about_one_axis():
    still = np.tile(poses(1), (6, 1))
    np.testing.assert_allclose(head_pose.smooth_head_pose(still, 5), still, atol=1e-9)
    nod = np.zeros((5, 6))
    nod[:, 0] = (0, 10, 20, 30, 40)
    nod[:, 4] = (0, 1, 2, 3, 4)
    smoothed = head_pose.smooth_head_pose(nod, 3)
    np.testing.assert_allclose(smoothed[:, 0], (5, 10, 20, 30, 35), atol=1e-6)
    np.testing.assert_allclose(smoothed[:, 4], (0.5, 1, 2, 3, 3.5), atol=1e-9)


def test_smoothing_over_one_frame_changes_nothing():
    np.testing.assert_allclose(head_pose.smooth_head_pose(poses(8), 1), poses(8), atol=1e-9)


def test_an_even_window_is_refused():
    with pytest.raises(ValueError, match=r"window \(4\) must be an odd number"):
        head_pose.smooth_head_pose(poses(8), 4)


def test_a_gap_between_two_poses_is_crossed_at_constant_speed():
    ends = head_pose.rigid_matrix(np.array([[0, 0, 0, 0, 0, -40], [0, 60, 0, 3, 0, -40]], dtype=float))
    matrices = np.tile(np.eye(4), (6, 1, 1))
    matrices[[1, 4]] = ends
    filled = head_pose.interpolate_pose_matrix(matrices, np.array([False, True, False, False, True, False]))
    motion = head_pose.euler_and_translation(filled)
    np.testing.assert_allclose(motion[:, 1], (0, 0, 20, 40, 60, 60), atol=1e-6)
    np.testing.assert_allclose(motion[:, 3], (0, 0, 1, 2, 3, 3), atol=1e-9)


def test_the_camera_sees_its_field_of_view():
    edge = 50.0 * np.tan(np.radians(31.5)) * head_pose.PUBLISHED_DEPTH_FACTOR
    corners = np.array([[[0, 0, 0], [0, edge, 0], [0, -edge, 0], [2 * edge, 0, 0]]])
    away = head_pose.rigid_matrix(np.array([[0, 0, 0, 0, 0, -50.0]]))
    points = head_pose.project(corners, away, width=800, height=400)
    np.testing.assert_allclose(points[0], [[0.5, 0.5], [0.5, 0], [0.5, 1], [1, 0.5]], atol=1e-12)


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"vertices \(2, 468, 3\) and pose_matrix \(3, 4, 4\) must be"):
        head_pose.project(np.zeros((2, 468, 3)), np.zeros((3, 4, 4)), 64, 64)
    with pytest.raises(ValueError, match=r"head_pose \(4, 3\) must have the shape \(f, 6\)"):
        head_pose.rigid_matrix(np.zeros((4, 3)))
