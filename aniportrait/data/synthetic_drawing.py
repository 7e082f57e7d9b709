"""Draws invented people: a painter's-order rasteriser with deferred shading, and smooth edges between sheets."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.sparse import csr_array

from aniportrait.data.synthetic_features import draw_eyes, draw_mouth
from aniportrait.data.synthetic_head import HeadMesh
from aniportrait.data.synthetic_people import Looks
from aniportrait.face.head_pose import project

_FIXED = 4
"""Fractional bits of OpenCV's polygon corners."""


@dataclass(frozen=True)
class Light:
    """What the scene is lit by.

    Args:
        direction: (3,) unit vector towards the lamp, in the camera's frame.
        ambient, lamp: how much comes from everywhere and from the lamp.
        warmth: -1 blue .. 1 yellow.
        exposure: (f,) factor on each frame.
    """

    direction: np.ndarray
    ambient: float
    lamp: float
    warmth: float
    exposure: np.ndarray


def draw_clip(
    head: HeadMesh,
    atlas: np.ndarray,
    looks: Looks,
    meshes: np.ndarray,
    iris: np.ndarray,
    pose_matrix: np.ndarray,
    light: Light,
    size: int,
    generator: np.random.Generator,
) -> Iterator[np.ndarray]:
    """Yield (size, size, 3) uint8 RGB frames of a clip.

    Args:
        head, atlas, looks: the person and its (h, w, 3) paint.
        meshes: (f, 468, 3) face in its own frame, cm.
        iris: (f, 10, 3) iris points in the same frame.
        pose_matrix: (f, 4, 4) that frame -> camera.
        light: the lamp.
        size: pixels of the square picture.
        generator: noise of the camera.
    """
    points = head.in_camera(meshes, pose_matrix)
    still = np.tile(np.eye(4), (len(meshes), 1, 1))
    image = project(points, still, size, size) * size - 0.5  # pixel centres are whole numbers
    eyes = project(iris, pose_matrix, size, size) * size - 0.5
    tint = 1.0 + 0.05 * light.warmth * np.array((1.0, 0.1, -1.0), np.float32)
    backdrop = _backdrop(looks, size)
    grain = _Grain(size, generator)
    normals = _Normals(head)
    for k in range(len(meshes)):
        bright, gloss = _lit(points[k], normals(points[k]), light)
        frame = _rendered(head, image[k], -points[k, :, 2], bright, gloss, atlas, looks, backdrop)
        draw_mouth(frame, head.rest[:468], meshes[k], pose_matrix[k], image[k], bright)
        draw_eyes(frame, image[k], eyes[k], looks, bright)
        yield grain.on(frame * (tint * light.exposure[k]).astype(np.float32))


class _Normals:
    """Unit vertex normals of a mesh whose triangles stay the same."""

    def __init__(self, head: HeadMesh):
        self.triangles = head.triangles
        corners = head.triangles.reshape(-1)
        owner = np.repeat(np.arange(len(head.triangles)), 3)
        # Hair meets the skin at the face's edge: both sheets share that edge's normals so that no seam shows.
        self.gather = csr_array(
            (np.ones(len(corners)), (corners, owner)), shape=(len(head.rest), len(head.triangles))
        )
        first_of = {}
        joined = np.arange(len(head.rest))
        for index in range(len(head.rest)):
            joined[index] = first_of.setdefault((head.body[index], *np.round(head.rest[index], 5)), index)
        self.joined = joined

    def __call__(self, points: np.ndarray) -> np.ndarray:
        a, b, c = (points[self.triangles[:, k]] for k in range(3))
        normals = self.gather @ np.cross(b - a, c - a)
        total = np.zeros_like(normals)
        np.add.at(total, self.joined, normals)
        total = total[self.joined]
        return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-9)


def _lit(points: np.ndarray, normals: np.ndarray, light: Light) -> tuple[np.ndarray, np.ndarray]:
    """Brightness and gloss (v,) of every vertex: wrapped Lambert, a little Blinn, a rim against the backdrop."""
    view = -points / np.linalg.norm(points, axis=1, keepdims=True)
    facing = normals @ light.direction
    diffuse = np.clip((facing + 0.35) / 1.35, 0, 1)
    half = view + light.direction
    half = half / np.linalg.norm(half, axis=1, keepdims=True)
    gloss = 0.10 * np.clip(np.einsum("vi,vi->v", normals, half), 0, 1) ** 18
    side = 1 - np.clip(np.einsum("vi,vi->v", normals, view), 0, 1)
    return light.ambient * (1 - 0.35 * side) + light.lamp * diffuse, gloss + 0.03 * side**3


def _rendered(
    head: HeadMesh,
    image: np.ndarray,
    depth: np.ndarray,
    bright: np.ndarray,
    gloss: np.ndarray,
    atlas: np.ndarray,
    looks: Looks,
    backdrop: np.ndarray,
) -> np.ndarray:
    """(size, size, 3) float32: everything but what is inside eyes and mouth."""
    size = len(backdrop)
    corners = image[head.triangles]
    area = _cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    shown = np.flatnonzero((area < 0) | head.two_sided)  # y points down, so fronts turn clockwise
    shown = shown[np.abs(area[shown]) > 1e-6]
    shown = shown[np.argsort(-depth[head.triangles[shown]].mean(axis=1), kind="stable")]
    # Sub-pixel (x, y) of the doubled grid is at ((x - 0.5) / 2, ...) of the picture.
    fine = _covered(2 * corners[shown] + 0.5, head.surface[shown], 2 * size)
    first = fine[::2, ::2] & _SHEET
    mixed = np.zeros((size, size), bool)
    for other in (fine[1::2, ::2], fine[::2, 1::2], fine[1::2, 1::2]):
        mixed |= (other & _SHEET) != first

    own = head.triangles[shown]
    planes = _Planes(corners[shown], head.texture[shown], bright[own], gloss[own])
    frame = backdrop.copy()
    pixels, quads = frame.reshape(-1, 3), fine.reshape(-1)
    whole = np.flatnonzero(~mixed & (first > 0))
    y, x = np.divmod(whole.astype(np.int32), np.int32(size))
    pixels[whole] = planes.colours(_triangle(quads.take(4 * size * y + 2 * x)), x, y, atlas)
    edge = np.flatnonzero(mixed)
    y, x = np.divmod(edge.astype(np.int32), np.int32(size))
    blend = np.zeros((len(edge), 3), np.float32)
    for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
        triangle = _triangle(quads.take(2 * size * (2 * y + dy) + 2 * x + dx))
        seen = planes.colours(triangle, x + 0.5 * dx - 0.25, y + 0.5 * dy - 0.25, atlas)
        blend += 0.25 * np.where(triangle[:, None] >= 0, seen, pixels[edge])
    pixels[edge] = blend
    return frame


_SHEET = 7
"""Bits of a covered pixel that say which surface it shows, counted from 1; the triangle's number is above them."""


def _covered(polygons: np.ndarray, surface: np.ndarray, size: int) -> np.ndarray:
    """(size, size) int32: the last of the (t, 3, 2) triangles over each pixel and its sheet, see _SHEET; 0 is bare."""
    picture = np.zeros((size, size), np.int32)
    codes = (np.arange(len(polygons)) << 3 | surface + 1).tolist()
    for code, polygon in zip(codes, np.round(polygons * 2**_FIXED).astype(np.int32), strict=True):
        cv2.fillConvexPoly(picture, polygon, code, cv2.LINE_8, _FIXED)
    return picture


def _triangle(covered: np.ndarray) -> np.ndarray:
    """Numbers of the triangles that show, -1 for none."""
    return np.where(covered > 0, covered >> 3, -1)


class _Planes:
    """Barycentric coordinates and what they interpolate, for many pixels of many triangles at once.

    Args:
        corners: (t, 3, 2) pixels.
        texture: (t, 3, 2) pixels of the atlas.
        bright, gloss: (t, 3).
    """

    def __init__(self, corners: np.ndarray, texture: np.ndarray, bright: np.ndarray, gloss: np.ndarray):
        a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
        area = _cross(b - a, c - a)
        rows = []
        for p, q in ((b, c), (c, a)):
            along = (q - p) / area[:, None]
            rows.append(
                np.stack((-along[:, 1], along[:, 0], along[:, 1] * p[:, 0] - along[:, 0] * p[:, 1]), axis=1)
            )
        self.weights = np.concatenate(rows, axis=1).astype(np.float32)
        values = np.concatenate((texture, bright[..., None], gloss[..., None]), axis=-1)
        last = values[:, 2]
        self.values = np.stack((last, values[:, 0] - last, values[:, 1] - last), axis=1).astype(np.float32)

    def colours(self, triangle: np.ndarray, x: np.ndarray, y: np.ndarray, atlas: np.ndarray) -> np.ndarray:
        """(n, 3) colours of pixels (n,) that lie in triangles (n,)."""
        x, y = x.astype(np.float32), y.astype(np.float32)
        weights = self.weights.take(triangle, axis=0, mode="wrap")
        first = np.clip(weights[:, 0] * x + weights[:, 1] * y + weights[:, 2], 0, 1)
        second = np.clip(weights[:, 3] * x + weights[:, 4] * y + weights[:, 5], 0, 1)
        # Polygons cover a little more than themselves; beyond the edge the nearest point of it counts.
        over = np.maximum(first + second, np.float32(1.0))
        values = self.values.take(triangle, axis=0, mode="wrap")
        value = (
            values[:, 0] + (first / over)[:, None] * values[:, 1] + (second / over)[:, None] * values[:, 2]
        )
        return _looked_up(atlas, value[:, :2]) * value[:, 2:3] + value[:, 3:4]


def _looked_up(atlas: np.ndarray, at: np.ndarray) -> np.ndarray:
    """(n, 3) bilinear samples of the atlas at (n, 2) pixels."""
    count, width = len(at), 512
    rows = -(-count // width) if count else 1
    spots = np.zeros((rows * width, 2), np.float32)
    spots[:count] = at
    u, v = cv2.split(spots.reshape(rows, width, 2))
    picture = cv2.remap(atlas, u, v, cv2.INTER_LINEAR)
    return picture.reshape(-1, 3)[:count]


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _backdrop(looks: Looks, size: int) -> np.ndarray:
    """(size, size, 3) float32: a wall out of focus."""
    generator = np.random.default_rng((looks.texture, 2))
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    top, bottom = (np.array(colour, np.float32) for colour in looks.backdrop)
    wall = top + (bottom - top) * y[..., None]
    for _ in range(7):
        cx, cy, reach = generator.uniform(0, 1), generator.uniform(0, 0.8), generator.uniform(0.06, 0.2)
        blob = 1 / (1 + np.exp((np.hypot(x - cx, y - cy) - reach) / 0.02))
        wall = wall + (generator.uniform(-0.09, 0.12) * blob)[..., None].astype(np.float32)
    return np.clip(wall, 0.02, 0.98).astype(np.float32)


class _Grain:
    """The camera's noise: one pattern, shifted at random from frame to frame."""

    def __init__(self, size: int, generator: np.random.Generator):
        self.size, self.generator = size, generator
        self.pattern = generator.standard_normal((2 * size, 2 * size, 3), dtype=np.float32) * 1.2

    def on(self, frame: np.ndarray) -> np.ndarray:
        """(size, size, 3) float in [0, 1] to uint8."""
        x, y = self.generator.integers(0, self.size, 2)
        noisy = frame * np.float32(255.0) + self.pattern[y : y + self.size, x : x + self.size]
        return cv2.convertScaleAbs(np.maximum(noisy, 0.0))
