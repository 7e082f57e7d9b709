"""The rest of an invented person: skull, ears, hair, neck and shoulders around the 468 vertices of the face."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from aniportrait.data.synthetic_face import FaceRig, skin_triangles
from aniportrait.data.synthetic_people import Looks
from aniportrait.face.topology import OVAL

ATLAS_SIZE = (768, 512)
"""Width and height of the painted texture, pixels."""

FACE_TILE = (0, 0, 512, 512)
CROWN_TILE = (514, 2, 252, 124)
TORSO_TILE = (514, 130, 252, 124)
HAIR_TILE = (514, 258, 252, 124)
EAR_TILE = (514, 386, 60, 60)
"""x, y, width and height in the texture: face in its own uv; crown by angle and way back; torso by angle and height;
loose hair; one ear."""

CROWN_ROWS = 7
CROWN_EDGE = np.append(OVAL[::-1], OVAL[-1])
"""(37,) the vertices that the crown starts from, once around."""

NECK = np.array((0.0, -6.0, -5.5))
"""Where head and neck meet, cm in the face's frame; the body hangs from it."""

_TORSO = np.array((  # cm below the neck joint, half width, half depth, forward
    (2.0, 4.6, 4.4, 0.0), (-2.5, 4.8, 4.6, 0.2), (-5.5, 5.2, 4.8, 0.4), (-7.0, 6.6, 5.2, 0.4), (-8.2, 9.6, 5.8, 0.4),
    (-9.6, 13.5, 6.6, 0.5), (-11.5, 16.8, 7.4, 0.8), (-15.0, 18.6, 8.4, 1.2), (-21.0, 19.0, 9.4, 1.6),
    (-34.0, 19.0, 9.6, 1.8),
))  # fmt: skip
_TORSO_ANGLES = np.radians(np.linspace(-105, 105, 15))


@dataclass(frozen=True)
class HeadMesh:
    """Every vertex of a person, face first, and how the texture lies on it.

    Args:
        follow: (v,) face vertex each vertex moves with (itself for the face), and
        share: (v,) how much of its movement it takes.
        rest: (v, 3) resting positions, cm; the body's relative to NECK.
        body: (v,) bool, hangs from the neck rather than turns with the head.
        triangles: (t, 3), outward when counterclockwise.
        texture: (t, 3, 2) texture pixels of each corner.
        surface: (t,) which sheet a triangle is part of; edges between sheets are smoothed.
        two_sided: (t,) bool.
    """

    follow: np.ndarray
    share: np.ndarray
    rest: np.ndarray
    body: np.ndarray
    triangles: np.ndarray
    texture: np.ndarray
    surface: np.ndarray
    two_sided: np.ndarray

    def in_camera(self, meshes: np.ndarray, pose_matrix: np.ndarray) -> np.ndarray:
        """(f, v, 3) vertices before the camera, of faces (f, 468, 3) at poses (f, 4, 4)."""
        neutral = self.rest[: meshes.shape[1]]
        moved = self.rest + self.share[:, None] * (meshes - neutral)[:, self.follow]
        head = moved @ pose_matrix[:, :3, :3].transpose(0, 2, 1) + pose_matrix[:, None, :3, 3]
        body = self.rest @ _body_turn(pose_matrix).transpose(0, 2, 1)
        joint = NECK @ pose_matrix[:, :3, :3].transpose(0, 2, 1) + pose_matrix[:, :3, 3]
        return np.where(self.body[:, None], body + joint[:, None], head)


def build_head(rig: FaceRig, neutral: np.ndarray, looks: Looks) -> HeadMesh:
    """Put a head, hair and a body around a (468, 3) resting face."""
    face = skin_triangles(rig.face.triangles)
    tile = np.array(FACE_TILE)
    parts = _Parts(neutral, face, rig.face.uv[face] * tile[2:] + tile[:2])
    crown, share = _crown(neutral, looks)
    follow = np.tile(np.repeat(CROWN_EDGE, 2)[:-1], (CROWN_ROWS, 1))
    parts.grid(crown, CROWN_TILE, surface=0, share=share, follow=follow)
    if looks.hair_length == 0.0:
        for side in (-1.0, 1.0):
            parts.grid(_ear(neutral, side), EAR_TILE, surface=1, two_sided=True)
    else:
        for side in (-1.0, 1.0):
            parts.grid(_curtain(neutral, looks, side), HAIR_TILE, surface=2, two_sided=True)
        parts.grid(_back_hair(looks), HAIR_TILE, surface=2, two_sided=True)
    parts.grid(_torso(), TORSO_TILE, surface=3, body=True)
    return parts.mesh()


class _Parts:
    """Collects sheets of vertices into one mesh."""

    def __init__(self, neutral: np.ndarray, triangles: np.ndarray, texture: np.ndarray):
        count = len(neutral)
        self.rest, self.follow, self.share = [neutral], [np.arange(count)], [np.ones(count)]
        self.body, self.triangles, self.texture = [np.zeros(count, bool)], [triangles], [texture]
        self.surface, self.two_sided = [np.zeros(len(triangles), int)], [np.zeros(len(triangles), bool)]
        self.count = count

    def grid(
        self,
        points: np.ndarray,
        tile: tuple[int, int, int, int],
        surface: int,
        share: np.ndarray | None = None,
        follow: np.ndarray | None = None,
        body: bool = False,
        two_sided: bool = False,
    ) -> None:
        """Add a sheet of (rows, columns, 3) points that takes the whole of a tile."""
        rows, columns = points.shape[:2]
        index = self.count + np.arange(rows * columns).reshape(rows, columns)
        x, y, width, height = tile
        u, v = np.meshgrid(x + np.linspace(0, width, columns), y + np.linspace(0, height, rows))
        spots = np.stack((u, v), axis=-1).reshape(-1, 2)
        a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
        triangles = np.concatenate([np.stack(t, axis=-1).reshape(-1, 3) for t in ((a, d, b), (b, d, c))])
        zeros = np.zeros(rows * columns)
        self.rest.append(points.reshape(-1, 3))
        self.follow.append(zeros.astype(int) if follow is None else follow.reshape(-1))
        self.share.append(zeros if share is None else share.reshape(-1))
        self.body.append(np.full(rows * columns, body))
        self.triangles.append(triangles)
        self.texture.append(spots[triangles - self.count])
        self.surface.append(np.full(len(triangles), surface))
        self.two_sided.append(np.full(len(triangles), two_sided))
        self.count += rows * columns

    def mesh(self) -> HeadMesh:
        return HeadMesh(
            *(
                np.concatenate(part)
                for part in (
                    self.follow, self.share, self.rest, self.body, self.triangles, self.texture, self.surface,
                    self.two_sided,
                )
            )
        )  # fmt: skip


def hair_start(height: np.ndarray) -> np.ndarray:
    """How far back along the crown (0 at the face's edge, 1 at the last row) hair begins, by the height in cm of
    the face's edge there."""
    return np.interp(height, (-4.0, -2.5, 0.0, 3.5, 5.5), (3.0, 0.62, 0.33, 0.10, -0.2))


def _crown(neutral: np.ndarray, looks: Looks) -> tuple[np.ndarray, np.ndarray]:
    """(rows, 73, 3) from the face's oval over the skull, and (rows, 73) how much it moves with the oval."""
    edge = neutral[CROWN_EDGE]
    centre = np.array((0.0, 1.6, -4.6))
    radii = np.array((abs(neutral[234, 0] - neutral[454, 0]) / 2 + 0.1, 9.7, 9.2))
    start = (edge - centre) / radii
    reach = np.linalg.norm(start, axis=1, keepdims=True)
    start = start / reach
    back = np.array((0.0, 0.05, -1.0))
    angle = np.arccos(np.clip(start @ back, -1, 1))[:, None]
    way = np.linspace(0, 1, CROWN_ROWS) ** 1.3
    rows = []
    for t in way:
        a = 0.8 * t * angle
        direction = (np.sin(angle - a) * start + np.sin(a) * back) / np.sin(angle)
        radius = 1 + (reach - 1) * (1 - t) ** 2
        hairy = np.clip((t - hair_start(edge[:, 1:2])) / 0.25, 0, 1) if t > 0 else np.zeros_like(angle)
        lift = looks.hair_volume * hairy * (0.55 + 0.45 * np.clip(edge[:, 1:2] / 8, 0, 1))
        rows.append(centre + radii * direction * radius + lift * direction)
    crown = np.stack([_denser(row, smooth=k > 0) for k, row in enumerate(rows)])
    return crown, np.broadcast_to((1 - way[:, None]) ** 2, crown.shape[:2])


def _denser(ring: np.ndarray, smooth: bool) -> np.ndarray:
    """(2n - 1, 3) a closed ring (n, 3), its first point repeated, with a point between every two."""
    before, after = np.roll(ring[:-1], 1, axis=0), np.roll(ring[:-1], -2, axis=0)
    middle = (ring[:-1] + ring[1:]) / 2
    if smooth:
        middle = 1.125 * middle - 0.125 * (before + after) / 2
    dense = np.empty((2 * len(ring) - 1, 3))
    dense[::2], dense[1::2] = ring, middle
    return dense


def _ear(neutral: np.ndarray, side: float) -> np.ndarray:
    """(4, 13, 3) a shell: rings from the middle to the rim, around."""
    root = neutral[454 if side > 0 else 234] + (side * 0.1, -0.1, -1.6)
    out = np.array((side * 0.62, 0.0, -0.78))
    around = np.linspace(0, 2 * np.pi, 13) * side
    rings = []
    for ring, dish in ((0.02, -0.35), (0.55, -0.30), (0.85, 0.10), (1.0, -0.10)):
        narrow = 1.0 - 0.25 * (np.sin(around) < 0) * np.abs(np.sin(around))
        along = 0.9 + 1.15 * ring * np.cos(around) * narrow
        height = 2.25 * ring * np.sin(around) + 0.2
        depth = np.array((side * 0.78, 0.0, 0.62)) * dish
        rings.append(root + along[:, None] * out + height[:, None] * np.array((0, 1.0, -0.12)) + depth)
    return np.stack(rings)


def _curtain(neutral: np.ndarray, looks: Looks, side: float) -> np.ndarray:
    """(10, 8, 3) hair hanging from the crown past the cheek: out from the temple, round, and in behind."""
    down = np.linspace(0, 1, 10)[:, None]
    y = 7.5 - down * (11.0 + 9.5 * looks.hair_length)
    skull = abs(neutral[454, 0]) * np.sqrt(1 - np.clip((y - 1.6) / 10.2, 0, 0.97) ** 2)
    width = skull - 1.6 * np.clip((-3.0 - y) / 10, 0, 1)
    puff = (0.35 + looks.hair_volume) * (1 + 0.5 * np.sin(np.pi * down)) * np.clip(0.15 + 3 * down, 0, 1)
    wave = 0.35 * np.sin(down * 9 + looks.texture % 7) * down
    out = np.array((-0.55, 0.10, 0.75, 1.0, 1.0, 0.7, -0.2, -2.4))
    back = np.array((-2.9, -2.5, -3.3, -4.8, -6.6, -8.4, -10.0, -11.2))
    x = side * (width + puff * out + np.minimum(out + 0.6, 0) + wave)
    z = back - 1.0 * down + 0.4 * wave
    points = np.stack(np.broadcast_arrays(x, y, z), axis=-1)
    return points if side < 0 else points[:, ::-1]


def _back_hair(looks: Looks) -> np.ndarray:
    """(5, 7, 3) hair behind the neck."""
    down = np.linspace(0, 1, 5)[:, None]
    across = np.linspace(-1, 1, 7)[None]
    x = across * (9.2 + 0.6 * looks.hair_volume - 1.0 * down)
    y = 4.0 - down * (7.3 + 9.5 * looks.hair_length) + 0 * across
    z = -10.5 - 2.0 * (1 - across**2) + 0 * down
    return np.stack(np.broadcast_arrays(x, y, z), axis=-1)


def _torso() -> np.ndarray:
    """(10, 15, 3) neck and shoulders relative to NECK."""
    low, wide, deep, forward = _TORSO.T[:, :, None]
    x = wide * np.sin(_TORSO_ANGLES)
    z = deep * np.cos(_TORSO_ANGLES) + forward - 0.5
    slope = 0.9 * np.clip(wide - 6.0, 0, None) / 10 * np.abs(np.sin(_TORSO_ANGLES)) ** 2
    return np.stack(np.broadcast_arrays(x, low - slope, z), axis=-1)


def _body_turn(pose_matrix: np.ndarray) -> np.ndarray:
    """(f, 3, 3) a fifth of the head's turn, so that the picture follows from the pose alone."""
    linear = pose_matrix[:, :3, :3] / np.cbrt(np.linalg.det(pose_matrix[:, :3, :3]))[:, None, None]
    return Rotation.from_rotvec(0.2 * Rotation.from_matrix(linear).as_rotvec()).as_matrix()
