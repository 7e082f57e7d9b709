"""Faces that no one has: shapes and expressions laid over MediaPipe's canonical mesh.

A trait or an expression is a field of offsets. Traits are smooth bumps of the canonical face, mirrored, added once
per identity. Expressions move a few vertices by rule; the rest of the skin follows by biharmonic interpolation over
the mesh, so that lips part and cheeks stretch without tearing.
"""

from dataclasses import dataclass

import numpy as np

from aniportrait.data.synthetic_expressions import EXPRESSIONS, LOWER_LIP, UPPER_LIP, expression_handles
from aniportrait.face.canonical import VERTICAL_FIELD_OF_VIEW, CanonicalFace, metric_mesh
from aniportrait.face.head_pose import project
from aniportrait.face.topology import INNER_LIPS, LEFT_EYE, RIGHT_EYE

IRIS_RADIUS = 0.62
"""cm of the canonical face, which is a little larger than life; alike in everyone."""


@dataclass(frozen=True)
class Trait:
    """A bump of the face: vertices near `centre` (mirrored) move along `direction`, both in cm."""

    centre: tuple[float, float, float]
    reach: float
    direction: tuple[float, float, float]


TRAITS = {
    "cheek_width": Trait((7.5, 0.0, -2.0), 4.0, (0.55, 0.0, 0.0)),
    "jaw_width": Trait((6.0, -6.2, -0.5), 3.0, (0.65, 0.0, 0.0)),
    "chin_length": Trait((0.0, -9.2, 4.2), 3.0, (0.0, -0.55, 0.1)),
    "chin_width": Trait((2.6, -8.6, 3.5), 1.8, (0.40, 0.0, 0.0)),
    "forehead": Trait((0.0, 8.2, 4.0), 4.0, (0.0, 0.45, 0.2)),
    "cheek_bone": Trait((4.8, 0.8, 3.0), 1.8, (0.15, 0.15, 0.30)),
    "cheek_fullness": Trait((4.8, -3.8, 2.8), 2.2, (0.30, 0.0, 0.35)),
    "nose_width": Trait((1.5, -1.8, 5.6), 0.9, (0.28, 0.0, 0.0)),
    "nose_length": Trait((0.0, -1.6, 7.0), 1.3, (0.0, -0.38, 0.1)),
    "nose_bridge": Trait((0.0, 1.6, 6.0), 1.2, (0.0, 0.0, 0.30)),
    "eye_distance": Trait((3.2, 2.6, 3.8), 1.6, (0.24, 0.0, 0.0)),
    "eye_height": Trait((3.2, 2.9, 3.8), 1.8, (0.0, 0.22, 0.0)),
    "eye_tilt": Trait((4.5, 2.6, 3.2), 0.9, (0.0, 0.22, 0.0)),
    "eye_size": Trait((3.2, 3.1, 3.9), 0.7, (0.0, 0.16, 0.0)),
    "brow_height": Trait((3.2, 5.0, 4.8), 1.5, (0.0, 0.28, 0.0)),
    "mouth_width": Trait((2.4, -4.3, 4.3), 1.0, (0.28, 0.0, -0.05)),
    "mouth_height": Trait((0.0, -4.3, 5.4), 2.0, (0.0, 0.25, 0.0)),
    "upper_lip": Trait((0.0, -3.3, 6.0), 1.1, (0.0, 0.18, 0.12)),
    "lower_lip": Trait((0.0, -5.4, 5.5), 1.1, (0.0, -0.20, 0.12)),
}
"""Shape traits of an identity, at strength 1; strengths of a population have mean 0."""


class FaceRig:
    """Turns traits into a resting mesh and movements into moving ones.

    Args:
        face: the canonical face; its frame and units (cm) are kept.
    """

    def __init__(self, face: CanonicalFace):
        self.face = face
        self.canonical = face.vertices.astype(np.float64)
        self.rest = _closed(_photographic(self.canonical))
        self.movements = self._movements()

    def neutral(self, traits: dict[str, float]) -> np.ndarray:
        """(468, 3) resting mesh: eyes open, lips closed."""
        mesh = self.rest.copy()
        for name, strength in traits.items():
            mesh += strength * _bump(self.canonical, TRAITS[name])
        return _closed(mesh)

    def moved(self, neutral: np.ndarray, movement: np.ndarray) -> np.ndarray:
        """(f, 468, 3) meshes of a (468, 3) resting one; movement (f, 12) in EXPRESSIONS' order."""
        mesh = neutral + np.tensordot(movement, self.movements, axes=1)
        for eye, upper, lower, name in _LIDS:
            # A blink closes whatever eye there is, so it needs this person's opening and not the average one.
            closing = movement[:, EXPRESSIONS.index(name), None]
            mesh[:, upper] += 0.93 * closing[..., None] * (neutral[lower] - neutral[upper])
            mesh[:, upper, 2] += 0.18 * closing * _bulge(neutral[upper], neutral[eye[[0, 8]]].mean(axis=0))
        return mesh

    def _movements(self) -> np.ndarray:
        """(12, 468, 3) offsets in cm of each full movement."""
        fields = [self._follow(handles) for handles in expression_handles(self.rest)]
        fields += [
            0.75 * _bump(self.canonical, Trait((1.6, 4.8, 5.2), 1.3, (0.08, 0.8, 0.0))),
            0.75 * _bump(self.canonical, Trait((4.2, 5.0, 4.4), 1.5, (0.0, 0.7, 0.0))),
        ]
        return np.stack(fields)

    def _follow(self, handles: dict[int, np.ndarray]) -> np.ndarray:
        """Biharmonic interpolation over the mesh of offsets given at some vertices. (468, 3)"""
        known = np.array(sorted(handles))
        free = np.setdiff1d(np.arange(len(self.rest)), known)
        offsets = np.zeros_like(self.rest)
        offsets[known] = [handles[index] for index in known]
        bending = self._bending()
        offsets[free] = np.linalg.solve(
            bending[np.ix_(free, free)], -bending[np.ix_(free, known)] @ offsets[known]
        )
        return offsets

    def _bending(self) -> np.ndarray:
        """(468, 468) squared graph Laplacian of the skin; mouth and eyes are holes in it."""
        triangles = skin_triangles(self.face.triangles)
        laplacian = np.zeros((len(self.rest), len(self.rest)))
        for a, b in ((0, 1), (1, 2), (2, 0)):
            i, j = triangles[:, a], triangles[:, b]
            stiffness = 1.0 / np.linalg.norm(self.canonical[i] - self.canonical[j], axis=1)
            laplacian[i, j] = laplacian[j, i] = -stiffness
        laplacian -= np.diag(laplacian.sum(axis=1))
        return laplacian @ laplacian


def skin_triangles(triangles: np.ndarray) -> np.ndarray:
    """The (n, 3) triangles that are skin: those across the mouth and the eyes left out."""
    holes = [set(ring.tolist()) for ring in (INNER_LIPS, RIGHT_EYE, LEFT_EYE)]
    keep = [not any(set(corner) <= hole for hole in holes) for corner in triangles.tolist()]
    return triangles[np.array(keep)]


def iris_points(neutral: np.ndarray, gaze: np.ndarray) -> np.ndarray:
    """(f, 10, 3) MediaPipe's iris points in the face's frame: right eye, then left; centre, then its rim.

    Args:
        neutral: (468, 3) resting mesh.
        gaze: (f, 2) cm that the irises move to the picture's right and up.
    """
    eyes = []
    for eye in (RIGHT_EYE, LEFT_EYE):
        centre = neutral[eye].mean(axis=0) + np.array((0.0, 0.03, 0.10))
        rim = IRIS_RADIUS * np.array(((0, 0, 0), (1, 0, 0), (0, 1, 0), (-1, 0, 0), (0, -1, 0)))
        eyes.append(centre + rim)
    points = np.concatenate(eyes)
    return points + np.pad(gaze, ((0, 0), (0, 1)))[:, None]


def track_geometry(
    meshes: np.ndarray, iris: np.ndarray, pose_matrix: np.ndarray, face: CanonicalFace
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a perfect landmarker would say of meshes before the camera, in a square picture.

    Args:
        meshes: (f, 468, 3) in any frame close to the canonical face's.
        iris: (f, 10, 3) in the same frame.
        pose_matrix: (f, 4, 4) that frame -> camera.

    Returns:
        landmarks (f, 478, 3); and of the same faces the metric mesh (f, 468, 3) and pose matrix (f, 4, 4), which
        differ from the arguments by what MediaPipe's alignment to the canonical face counts as pose.
    """
    points = np.concatenate((meshes, iris), axis=1)
    depth = -np.einsum("fj,fvj->fv", pose_matrix[:, 2, :3], points) - pose_matrix[:, 2, 3, None]
    mean_depth = depth[:, : meshes.shape[1]].mean(axis=1, keepdims=True)
    near_width = 2.0 * np.tan(np.radians(VERTICAL_FIELD_OF_VIEW / 2.0))
    image = project(points, pose_matrix, 1, 1)
    landmarks = np.concatenate((image, ((depth / mean_depth - 1.0) / near_width)[..., None]), axis=-1)
    vertices, aligned = metric_mesh(landmarks, 1, 1, face)
    return landmarks.astype(np.float32), vertices, aligned


def aligned_meshes(meshes: np.ndarray, face: CanonicalFace) -> np.ndarray:
    """The metric meshes (f, 468, 3) float32 of meshes (f, 468, 3): `track_geometry` without a camera's pose."""
    pose_matrix = np.tile(np.eye(4), (len(meshes), 1, 1))
    pose_matrix[:, 2, 3] = -30.0
    return track_geometry(meshes, np.zeros((len(meshes), 10, 3)), pose_matrix, face)[1]


_LIDS = (
    (RIGHT_EYE, RIGHT_EYE[9:], RIGHT_EYE[7:0:-1], "blink_right"),
    (LEFT_EYE, LEFT_EYE[9:], LEFT_EYE[7:0:-1], "blink_left"),
)
"""Eye ring, upper lid, facing lower lid, movement that closes it."""


def _photographic(mesh: np.ndarray) -> np.ndarray:
    """The canonical face as landmarkers measure it in photographs: taken from afar, it is wider behind, and the
    eyes are open."""
    mesh = mesh.copy()
    behind = np.clip((3.5 - mesh[:, 2]) / 6.0, 0.0, 1.0)
    mesh[:, 0] *= 1.0 + 0.11 * behind
    mesh[:, 1] -= 0.85 * np.clip((mesh[:, 1] - 4.0) / 4.2, 0.0, 1.0) ** 1.5
    mesh[:, 1] += 0.70 * np.clip((-5.0 - mesh[:, 1]) / 4.4, 0.0, 1.0) ** 1.5
    mesh += _bump(mesh, Trait((3.2, 3.7, 4.2), 0.6, (0.0, 0.36, 0.0)))
    mesh += _bump(mesh, Trait((0.0, 1.8, 5.4), 1.0, (0.0, -0.40, 0.0)))
    for eye, upper, lower, _ in _LIDS:
        middle = 1.0 - np.abs(np.linspace(-1, 1, 7)) ** 2.5
        mesh[upper, 1] += 0.24 * middle
        mesh[lower, 1] -= 0.10 * middle
        mesh[eye[0], 0] *= 1.03
        mesh[eye[8], 0] *= 0.96
    return mesh


def _closed(mesh: np.ndarray) -> np.ndarray:
    """Bring the lips together: opposite inner vertices meet, outer rings stay."""
    mesh = mesh.copy()
    upper, lower = mesh[UPPER_LIP], mesh[LOWER_LIP]
    gap = upper[3] - lower[3]
    share = np.array((0.0, 0.35, 0.75, 0.985))[:, None, None]
    mesh[UPPER_LIP[:, 1:-1]] = (upper - 0.45 * share * gap)[:, 1:-1]
    mesh[LOWER_LIP[:, 1:-1]] = (lower + 0.55 * share * gap)[:, 1:-1]
    return mesh


def _bump(points: np.ndarray, trait: Trait) -> np.ndarray:
    """(468, 3) offsets of a trait, mirrored, each vertex fully moved at most once."""
    offsets = np.zeros_like(points)
    centred = trait.centre[0] == 0.0
    for sign in (1.0,) if centred else (1.0, -1.0):
        mirror = np.array((sign, 1.0, 1.0))
        distance = np.linalg.norm(points - mirror * trait.centre, axis=1)
        offsets += np.exp(-0.5 * (distance / trait.reach) ** 2)[:, None] * (mirror * trait.direction)
    return offsets


def _bulge(lid: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """(n,) how far over the eyeball a lid vertex slides, 1 in the middle."""
    return np.clip(1.0 - (np.abs(lid[:, 0] - centre[0]) / 1.4) ** 2, 0.0, 1.0)
