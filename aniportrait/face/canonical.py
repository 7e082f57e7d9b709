"""MediaPipe's canonical face, and the metric mesh and head pose that follow from landmarks."""

import math
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from aniportrait.face.task_file import TaskFileError, find_task_file

VERTICAL_FIELD_OF_VIEW = 63.0
"""Degrees; MediaPipe's default camera, with the near plane at 1 cm."""

_GEOMETRY_FILE = "geometry_pipeline_metadata_landmarks.binarypb"
_VERTICES = 468


@dataclass(frozen=True, eq=False)
class CanonicalFace:
    """The face all others are measured against.

    Args:
        vertices: (468, 3) float32, cm; x to the face's left (the picture's right), y up, z out of the face.
        uv: (468, 2) float32 texture coordinates in [0, 1].
        triangles: (898, 3) int64 vertex indices.
        procrustes_index: (33,) int64 vertices that determine the head pose.
        procrustes_weight: (33,) float64 their weights.
    """

    vertices: np.ndarray
    uv: np.ndarray
    triangles: np.ndarray
    procrustes_index: np.ndarray
    procrustes_weight: np.ndarray


def load_canonical_face(task_file: Path | None = None) -> CanonicalFace:
    """The canonical face inside a landmarker bundle (the one `find_task_file` finds, when none is named)."""
    return _read_bundle(Path(task_file) if task_file is not None else find_task_file())


def metric_mesh(
    landmarks: np.ndarray, width: int, height: int, face: CanonicalFace
) -> tuple[np.ndarray, np.ndarray]:
    """Metric mesh without head motion, and head pose, as MediaPipe's face geometry module computes them.

    Args:
        landmarks: (f, >=468, 3) normalised landmarks of an image of `width` x `height` pixels.

    Returns:
        (f, 468, 3) float32 vertices in cm, in the canonical face's frame, and
        (f, 4, 4) float32 pose matrix: canonical face -> camera (rotation and uniform scale; cm).
    """
    if landmarks.ndim != 3 or landmarks.shape[1] < _VERTICES or landmarks.shape[2] != 3:
        raise ValueError(f"landmarks {landmarks.shape} must have the shape (f, >={_VERTICES}, 3)")
    if width <= 0 or height <= 0:
        raise ValueError(f"image size {width}x{height} must be positive")
    near_height = 2.0 * math.tan(math.radians(VERTICAL_FIELD_OF_VIEW / 2.0))
    near_width = near_height * width / height
    screen = np.asarray(landmarks[:, :_VERTICES], dtype=np.float64)
    points = np.empty_like(screen)
    points[..., 0] = (screen[..., 0] - 0.5) * near_width
    points[..., 1] = (0.5 - screen[..., 1]) * near_height
    points[..., 2] = screen[..., 2] * near_width
    depth_offset = points[..., 2].mean(axis=1, keepdims=True)

    # The scale that turns the near plane's units into cm is found in two passes: flat, then in perspective.
    basis = points[:, face.procrustes_index]
    first_scale = _similarity(basis * (1.0, 1.0, -1.0), face)[1]
    second_scale = _similarity(_unproject(basis, depth_offset, first_scale), face)[1]
    metric = _unproject(points, depth_offset, first_scale * second_scale)

    rotation, scale, translation = _similarity(metric[:, face.procrustes_index], face)
    vertices = (metric - translation[:, None]) @ (rotation / scale[:, None, None])
    pose_matrix = np.tile(np.eye(4, dtype=np.float32), (len(metric), 1, 1))
    pose_matrix[:, :3, :3] = scale[:, None, None] * rotation
    pose_matrix[:, :3, 3] = translation
    return vertices.astype(np.float32), pose_matrix


def _unproject(points: np.ndarray, depth_offset: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Near-plane points (f, v, 3) -> camera space in cm, z negative in front of the camera."""
    depth = (points[..., 2] - depth_offset + 1.0) / scale[:, None]
    return np.stack((points[..., 0] * depth, points[..., 1] * depth, -depth), axis=-1)


def _similarity(points: np.ndarray, face: CanonicalFace) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Similarity canonical -> points (f, 33, 3): rotation (f, 3, 3), scale (f,), translation (f, 3).

    Minimises sum_i w_i |s R a_i + t - b_i|^2 over the Procrustes vertices (Kabsch, no reflection).
    """
    weight = face.procrustes_weight / face.procrustes_weight.sum()
    source = face.vertices[face.procrustes_index].astype(np.float64)
    source_mean = weight @ source
    target_mean = weight @ points
    source = source - source_mean
    target = points - target_mean[:, None]
    u, _, vt = np.linalg.svd(target.transpose(0, 2, 1) @ (weight[:, None] * source))
    u[..., -1] *= np.sign(np.linalg.det(u) * np.linalg.det(vt))[:, None]
    rotation = u @ vt
    variance = np.einsum("n,nc,nc->", weight, source, source)
    scale = np.einsum("n,fni,fni->f", weight, target, source @ rotation.transpose(0, 2, 1)) / variance
    translation = target_mean - scale[:, None] * (rotation @ source_mean)
    return rotation, scale, translation


@lru_cache(maxsize=4)
def _read_bundle(task_file: Path) -> CanonicalFace:
    try:
        with zipfile.ZipFile(task_file) as bundle:
            metadata = bundle.read(_GEOMETRY_FILE)
    except (zipfile.BadZipFile, KeyError) as error:
        raise TaskFileError(
            f"{task_file} is no MediaPipe face landmarker bundle: it must be a zip holding {_GEOMETRY_FILE}"
        ) from error
    return _parse_geometry(metadata)


def _parse_geometry(metadata: bytes) -> CanonicalFace:
    """Field 1 is the mesh (3: packed floats x y z u v, 4: triangle indices); each field 2 a basis point."""
    buffer, triangles, index, weight = b"", [], [], []
    for field, value in _fields(metadata):
        if field == 1 and isinstance(value, bytes):
            for mesh_field, mesh_value in _fields(value):
                if mesh_field == 3 and isinstance(mesh_value, bytes):
                    buffer += mesh_value
                elif mesh_field == 4:
                    triangles += _varints(mesh_value) if isinstance(mesh_value, bytes) else [mesh_value]
        elif field == 2 and isinstance(value, bytes):
            for basis_field, basis_value in _fields(value):
                if basis_field == 1:
                    index.append(basis_value)
                elif basis_field == 2 and isinstance(basis_value, bytes):
                    weight += struct.unpack("<f", basis_value)
    vertices = np.frombuffer(buffer, dtype="<f4").reshape(-1, 5)
    return CanonicalFace(
        vertices=vertices[:, :3].copy(),
        uv=vertices[:, 3:].copy(),
        triangles=np.array(triangles, dtype=np.int64).reshape(-1, 3),
        procrustes_index=np.array(index, dtype=np.int64),
        procrustes_weight=np.array(weight, dtype=np.float64),
    )


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (field number, int or bytes) of a serialised protocol buffer message."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        field, wire = key >> 3, key & 7
        if wire == 0:
            value, position = _varint(message, position)
        elif wire in (1, 2, 5):
            size = {1: 8, 5: 4}.get(wire)
            if size is None:
                size, position = _varint(message, position)
            value, position = message[position : position + size], position + size
        else:
            raise ValueError(f"wire type {wire} at byte {position} is none of protocol buffers'")
        yield field, value


def _varints(packed: bytes) -> list[int]:
    values, position = [], 0
    while position < len(packed):
        value, position = _varint(packed, position)
        values.append(value)
    return values


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if not byte & 0x80:
            return value, position
        shift += 7
