"""Head pose: Euler angles and matrices, motion relative to a reference, smoothing, and the camera."""

import math

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from aniportrait.face.canonical import VERTICAL_FIELD_OF_VIEW

# The original multiplies row vectors by a matrix that was not transposed, so its depth carries the factor
# far / (far - near) with near 1 and far 10000, in float32. Its weights have seen pictures drawn so: kept.
PUBLISHED_DEPTH_FACTOR = float(np.float32(10000.0 / 9999.0))


def project(vertices: np.ndarray, pose_matrix: np.ndarray, width: int, height: int) -> np.ndarray:
    """Image points of a mesh placed in front of the camera.

    Everything shrinks by 0.01 % about the image centre, as in the original (PUBLISHED_DEPTH_FACTOR).

    Args:
        vertices: (f, v, 3) in the canonical face's frame, cm.
        pose_matrix: (f, 4, 4) canonical face -> camera.

    Returns:
        (f, v, 2) float64 points in [0, 1] of width and height, y down; outside of it off screen.
    """
    if vertices.ndim != 3 or pose_matrix.shape != (len(vertices), 4, 4):
        raise ValueError(
            f"vertices {vertices.shape} and pose_matrix {pose_matrix.shape} must be (f, v, 3) and (f, 4, 4)"
        )
    matrix = np.asarray(pose_matrix, dtype=np.float64)
    camera = (
        np.asarray(vertices, dtype=np.float64) @ matrix[:, :3, :3].transpose(0, 2, 1) + matrix[:, None, :3, 3]
    )
    focal = 1.0 / math.tan(math.radians(VERTICAL_FIELD_OF_VIEW / 2.0))
    depth = -camera[..., 2] * PUBLISHED_DEPTH_FACTOR
    x = 0.5 + 0.5 * focal * height / width * camera[..., 0] / depth
    y = 0.5 - 0.5 * focal * camera[..., 1] / depth
    return np.stack((x, y), axis=-1)


def matrix_from_euler(euler: np.ndarray) -> np.ndarray:
    """Rotation matrices (..., 3, 3) of extrinsic x-y-z angles (..., 3) in degrees: Rz @ Ry @ Rx."""
    euler = np.asarray(euler, dtype=np.float64)
    flat = Rotation.from_euler("xyz", euler.reshape(-1, 3), degrees=True).as_matrix()
    return flat.reshape(*euler.shape[:-1], 3, 3)


def euler_from_matrix(matrix: np.ndarray) -> np.ndarray:
    """Extrinsic x-y-z angles (..., 3) in degrees of rotations (..., 3, 3); a uniform scale is dropped."""
    matrix = np.asarray(matrix, dtype=np.float64)
    flat = Rotation.from_matrix(_unscaled(matrix.reshape(-1, 3, 3))).as_euler("xyz", degrees=True)
    return flat.reshape(*matrix.shape[:-2], 3)


def rigid_matrix(head_pose: np.ndarray) -> np.ndarray:
    """(f, 4, 4) float64 matrices of (f, 6) poses: Euler xyz in degrees, translation in cm."""
    head_pose = np.asarray(head_pose, dtype=np.float64)
    if head_pose.ndim != 2 or head_pose.shape[1] != 6:
        raise ValueError(f"head_pose {head_pose.shape} must have the shape (f, 6)")
    matrix = np.tile(np.eye(4), (len(head_pose), 1, 1))
    matrix[:, :3, :3] = matrix_from_euler(head_pose[:, :3])
    matrix[:, :3, 3] = head_pose[:, 3:]
    return matrix


def euler_and_translation(matrix: np.ndarray) -> np.ndarray:
    """(f, 6) float64: Euler xyz in degrees and translation in cm of (f, 4, 4) matrices; scale is dropped."""
    matrix = np.asarray(matrix, dtype=np.float64)
    return np.concatenate((euler_from_matrix(matrix[:, :3, :3]), matrix[:, :3, 3]), axis=-1)


def relative_head_pose(pose_matrix: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Head motion (f, 6) of (f, 4, 4) matrices seen from a (4, 4) reference: reference^-1 @ pose_matrix.

    It acts in the canonical face's frame before the reference places the face: `pose_matrices` undoes it.
    """
    reference = np.asarray(reference, dtype=np.float64)
    return euler_and_translation(np.linalg.inv(reference) @ np.asarray(pose_matrix, dtype=np.float64))


def pose_matrices(head_pose: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(f, 4, 4) float64 canonical face -> camera: a (4, 4) reference moved by (f, 6) head motion."""
    return np.asarray(reference, dtype=np.float64) @ rigid_matrix(head_pose)


def retargeted_head_pose(pose_matrix: np.ndarray, reference: np.ndarray, onto: np.ndarray) -> np.ndarray:
    """Another head's motion (f, 4, 4), seen from its (4, 4) reference, as motion (f, 6) of a head that is at `onto`.

    The head turns about its own axes. It moves in the picture to the same side and as many head sizes as the other
    did, and grows by the same factor: how near either stands to its camera, and where in the picture, plays no part.
    """
    matrix, reference, onto = (np.asarray(m, dtype=np.float64) for m in (pose_matrix, reference, onto))
    placed = onto @ rigid_matrix(relative_head_pose(matrix, reference))
    growth = matrix[:, 2:3, 3] / reference[2, 3]
    shift = matrix[:, :3, 3] - reference[:3, 3] * growth
    placed[:, :3, 3] = onto[:3, 3] * growth + shift
    return relative_head_pose(placed, onto)


def smooth_head_pose(head_pose: np.ndarray, window: int) -> np.ndarray:
    """Centred mean over `window` frames, truncated at the ends: rotations on SO(3), translations linearly.

    The mean rotation is the chordal one (Markley et al., Averaging Quaternions, 2007), so that 179 and -179
    degrees give 180 and not 0.

    Args:
        head_pose: (f, 6) Euler xyz in degrees, translation in cm.
    """
    smoothed = smooth_head_pose_published(head_pose, window)
    quaternion = Rotation.from_euler("xyz", head_pose[:, :3], degrees=True).as_quat()
    outer = _moving_mean(quaternion[:, :, None] * quaternion[:, None, :], window)
    mean = np.linalg.eigh(outer)[1][..., -1]
    smoothed[:, :3] = Rotation.from_quat(mean).as_euler("xyz", degrees=True)
    return smoothed


def smooth_head_pose_published(head_pose: np.ndarray, window: int) -> np.ndarray:
    """The original's moving average of all six numbers (f, 6): Euler angles too, wrong across 180 degrees."""
    head_pose = np.asarray(head_pose, dtype=np.float64)
    if head_pose.ndim != 2 or head_pose.shape[1] != 6:
        raise ValueError(f"head_pose {head_pose.shape} must have the shape (f, 6)")
    return _moving_mean(head_pose, window)


def resampled_head_pose(head_pose: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Head poses between frames: rotations along the shortest arc, translations linearly; the ends are repeated.

    Args:
        head_pose: (f, 6) Euler xyz in degrees, translation in cm.
        places: (m,) frame numbers, fractions allowed.

    Returns:
        (m, 6) float64.
    """
    head_pose, frames = np.asarray(head_pose, dtype=np.float64), np.arange(len(head_pose))
    places = np.clip(places, 0, len(head_pose) - 1)
    if len(head_pose) == 1:
        return np.repeat(head_pose, len(places), axis=0)
    rotation = Slerp(frames, Rotation.from_euler("xyz", head_pose[:, :3], degrees=True))(places)
    translation = [np.interp(places, frames, head_pose[:, axis]) for axis in range(3, 6)]
    return np.column_stack((rotation.as_euler("xyz", degrees=True), *translation))


def interpolate_pose_matrix(pose_matrix: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Fill invalid frames of (f, 4, 4): rotations along the shortest arc, scale and translation linearly.

    Frames before the first and after the last valid one repeat it.
    """
    known = np.flatnonzero(valid)
    if len(known) == 0:
        raise ValueError("no frame is valid: there is no pose to interpolate from")
    filled = resampled_pose_matrix(pose_matrix[known], np.arange(len(valid)), known)
    filled[known] = pose_matrix[known]
    return filled.astype(pose_matrix.dtype)


def resampled_pose_matrix(
    pose_matrix: np.ndarray, places: np.ndarray, frames: np.ndarray | None = None
) -> np.ndarray:
    """Matrices between frames: rotations along the shortest arc, scale and translation linearly; ends are repeated.

    Args:
        pose_matrix: (f, 4, 4) canonical face -> camera.
        places: (m,) frame numbers, fractions allowed.
        frames: (f,) numbers of the matrices' frames, ascending; from 0 when left out.

    Returns:
        (m, 4, 4) float64.
    """
    frames = np.arange(len(pose_matrix)) if frames is None else frames
    places = np.clip(places, frames[0], frames[-1])
    linear = np.asarray(pose_matrix[:, :3, :3], dtype=np.float64)
    scale = np.cbrt(np.linalg.det(linear))
    resampled = np.tile(np.eye(4), (len(places), 1, 1))
    for axis in range(3):
        resampled[:, axis, 3] = np.interp(places, frames, pose_matrix[:, axis, 3])
    if len(frames) == 1:
        resampled[:, :3, :3] = linear[0]
    else:
        rotation = Slerp(frames, Rotation.from_matrix(_unscaled(linear)))(places).as_matrix()
        resampled[:, :3, :3] = rotation * np.interp(places, frames, scale)[:, None, None]
    return resampled


def _unscaled(linear: np.ndarray) -> np.ndarray:
    return linear / np.cbrt(np.linalg.det(linear))[:, None, None]


def _moving_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Mean over frames i - window // 2 ... i + window // 2 that exist."""
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window ({window}) must be an odd number of frames")
    half = window // 2
    frames = np.arange(len(values))
    first, last = np.maximum(frames - half, 0), np.minimum(frames + half + 1, len(values))
    total = np.concatenate((np.zeros_like(values[:1]), np.cumsum(values, axis=0)))
    count = (last - first).reshape(-1, *(1,) * (values.ndim - 1))
    return (total[last] - total[first]) / count
