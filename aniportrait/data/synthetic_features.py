"""What lies inside the openings of a drawn face: eyeballs with their lids' lashes, teeth and tongue."""

import cv2
import numpy as np

from aniportrait.data.synthetic_expressions import LOWER_LIP, UPPER_LIP
from aniportrait.data.synthetic_people import Looks
from aniportrait.face.head_pose import project
from aniportrait.face.topology import INNER_LIPS, LEFT_EYE, RIGHT_EYE

_SCALE = 3
"""Features are drawn this many times larger and shrunk, which smooths their edges."""
_SHIFT = 4

_CHEEKS = (117, 346)
_UPPER_TEETH = ((0.35, -0.55), (-0.42, -0.50))
_LOWER_TEETH = ((-0.30, -0.75), (-1.00, -0.95))
"""Height above the closed lips' line and depth behind them (cm), of a row of teeth's two edges."""


def draw_eyes(
    frame: np.ndarray, image: np.ndarray, iris: np.ndarray, looks: Looks, bright: np.ndarray
) -> None:
    """Paint both eyes into a (size, size, 3) float frame.

    Args:
        image: (v, 2) pixels of the vertices.
        iris: (10, 2) pixels of the iris points.
        looks: colours.
        bright: (v,) how the vertices are lit.
    """
    for ring, points, cheek in ((RIGHT_EYE, iris[:5], _CHEEKS[0]), (LEFT_EYE, iris[5:], _CHEEKS[1])):
        outline = _rounded(image[ring])
        patch = _Patch(frame, outline, margin=3)
        if patch.empty:
            continue
        light = float(np.clip(bright[cheek], 0.45, 1.15))
        patch.fill(outline, _eyeball(patch, outline, points, looks, light))
        upper = _rounded(image[ring[8:]], closed=False, end=image[ring[0]])
        width = 0.05 + 0.05 * looks.lashes
        span = float(np.linalg.norm(image[ring[0]] - image[ring[8]]))
        lash = 0.3 * np.array(looks.hair, np.float32) * light + 0.02
        patch.stroke(upper, lash, width * span, 0.55 + 0.4 * looks.lashes)
        patch.blend()


def draw_mouth(
    frame: np.ndarray,
    neutral: np.ndarray,
    mesh: np.ndarray,
    pose_matrix: np.ndarray,
    image: np.ndarray,
    bright: np.ndarray,
) -> None:
    """Paint the inside of the mouth into a (size, size, 3) float frame.

    Args:
        neutral, mesh: (468, 3) the face at rest and now, cm.
        pose_matrix: (4, 4) face -> camera.
        image: (v, 2) pixels of the vertices, bright: (v,) how they are lit.
    """
    size = len(frame)
    outline = _rounded(image[INNER_LIPS])
    patch = _Patch(frame, outline, margin=2)
    if patch.empty:
        return
    light = float(np.clip(0.5 * (bright[14] + bright[13]), 0.45, 1.1))
    jaw = mesh[199] - neutral[199]
    opening = float(np.clip(np.linalg.norm(mesh[13] - mesh[14]) / 1.5, 0, 1))
    inside = np.empty((*patch.shape, 3), np.float32)
    inside[:] = np.array((0.20, 0.06, 0.06)) * light

    def seen(points: np.ndarray) -> np.ndarray:
        return project(points[None], pose_matrix[None], size, size)[0] * size - 0.5

    tongue = seen(_tongue(neutral, jaw, opening))
    patch.paint(inside, tongue, np.array((0.66, 0.30, 0.30)) * (light * (0.55 + 0.30 * opening)), soft=5)
    for edges, moved, shade in ((_LOWER_TEETH, jaw, 0.66), (_UPPER_TEETH, np.zeros(3), 0.86)):
        row = seen(_teeth(neutral, edges) + moved)
        patch.paint(inside, row, np.array((0.93, 0.90, 0.84)) * (shade * light), soft=2)
    inside *= patch.shadow(outline, reach=0.10 * float(np.ptp(outline[:, 0])))
    patch.fill(outline, inside)
    patch.blend()


def _teeth(neutral: np.ndarray, edges: tuple[tuple[float, float], tuple[float, float]]) -> np.ndarray:
    """(18, 3) outline of a row of teeth, an arch behind the lips."""
    line = 0.5 * (neutral[UPPER_LIP[3]] + neutral[LOWER_LIP[3]])[1:-1]
    level = line[:, 1].mean()
    (high, behind), (low, deeper) = edges
    first, second = line.copy(), line.copy()
    first[:, 1], second[:, 1] = level + high, level + low
    arch = np.linspace(-1, 1, len(line)) ** 2
    first[:, 2] += behind - 0.35 * arch
    second[:, 2] += deeper - 0.35 * arch
    second[:, 1] += 0.10 * arch
    return np.concatenate((first, second[::-1]))


def _tongue(neutral: np.ndarray, jaw: np.ndarray, opening: float) -> np.ndarray:
    """(16, 3) outline of the tongue's back, lying in the lower jaw."""
    centre = 0.5 * (neutral[13] + neutral[14]) + 0.85 * jaw + (0.0, -0.75 + 0.15 * opening, -1.3)
    angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    return centre + np.stack((1.35 * np.cos(angle), 0.62 * np.sin(angle), 0.3 * np.sin(angle)), axis=1)


def _eyeball(
    patch: "_Patch", outline: np.ndarray, points: np.ndarray, looks: Looks, light: float
) -> np.ndarray:
    """(h, w, 3) of the patch: sclera, iris with a dark rim, pupil, the lamp's reflection, the upper lid's shadow."""
    x, y = patch.grid()
    # The iris is an ellipse in the picture: undo its axes and measure in radii.
    axes = np.linalg.inv(np.stack(((points[1] - points[3]) / 2, (points[2] - points[4]) / 2), axis=1)).astype(
        np.float32
    )
    x, y = x - np.float32(points[0, 0]), y - np.float32(points[0, 1])
    u, v = axes[0, 0] * x + axes[0, 1] * y, axes[1, 0] * x + axes[1, 1] * y
    radius = np.hypot(u, v)[..., None]
    middle, half = outline[:, 0].mean() - points[0, 0], np.ptp(outline[:, 0]) / 2
    corner = np.clip(np.abs(x - np.float32(middle)) / np.float32(half), 0, 1)[..., None]
    ball = _rgb(0.93, 0.91, 0.89) * (1 - _rgb(0.06, 0.20, 0.20) * corner**3)
    fibres = 0.80 + 0.55 * np.clip(radius, 0, 1) * np.clip(0.4 - v[..., None], 0, 1)
    iris = _rgb(*looks.iris) * (fibres * (1 - 0.55 * np.clip((radius - 0.72) / 0.28, 0, 1)))
    colour = ball + (iris - ball) * np.clip((1.02 - radius) / 0.10, 0, 1)
    colour *= 1 - 0.92 * np.clip((0.44 - radius) / 0.10, 0, 1)
    colour *= np.float32(light) * patch.shadow(outline, reach=0.16 * float(np.ptp(outline[:, 0])))
    glint = np.hypot(u - 0.30, v - 0.38)[..., None]
    return colour + 0.85 * np.clip((0.24 - glint) / 0.10, 0, 1)


def _rgb(red: float, green: float, blue: float) -> np.ndarray:
    return np.array((red, green, blue), np.float32)


class _Patch:
    """An enlarged piece of a frame about some outline; what is painted on it shows when it is blended back."""

    def __init__(self, frame: np.ndarray, outline: np.ndarray, margin: int):
        size = len(frame)
        low = np.clip(np.floor(outline.min(axis=0)).astype(int) - margin, 0, size)
        high = np.clip(np.ceil(outline.max(axis=0)).astype(int) + margin + 1, 0, size)
        self.corner = low
        self.empty = bool((high - low < 2).any())
        self.piece = frame[low[1] : high[1], low[0] : high[0]]
        self.shape = tuple(_SCALE * side for side in self.piece.shape[:2])
        self.colour = np.zeros((*self.shape, 3), np.float32)
        self.cover = np.zeros(self.shape, np.float32)

    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """x and y (h, w) in the frame's pixels of every point of the patch."""
        y, x = np.mgrid[0 : self.shape[0], 0 : self.shape[1]].astype(np.float32)
        return (x + 0.5) / _SCALE - 0.5 + self.corner[0], (y + 0.5) / _SCALE - 0.5 + self.corner[1]

    def fill(self, outline: np.ndarray, colour: np.ndarray) -> None:
        """Cover the inside of an outline (n, 2) with (h, w, 3) colours."""
        mask = self._mask(outline)
        self.colour += (colour - self.colour) * mask[..., None]
        self.cover = np.maximum(self.cover, mask)

    def paint(self, onto: np.ndarray, outline: np.ndarray, colour: np.ndarray, soft: int) -> None:
        """Blend a plain colour into (h, w, 3) inside an outline, with edges `soft` points wide."""
        mask = cv2.blur(self._mask(outline), (soft, soft))[..., None]
        onto += (colour.astype(np.float32) - onto) * mask

    def stroke(self, line: np.ndarray, colour: np.ndarray, width: float, strength: float) -> None:
        """Draw a line (n, 2) `width` pixels wide."""
        mask = np.zeros(self.shape, np.float32)
        cv2.polylines(
            mask, [self._fixed(line)], False, strength, max(int(round(width * _SCALE)), 1), cv2.LINE_8, _SHIFT
        )
        under = self.cover[..., None]
        blended = self.colour * under * (1 - mask[..., None]) + colour * mask[..., None]
        self.cover = mask + self.cover * (1 - mask)
        self.colour = blended / np.maximum(self.cover[..., None], 1e-6)

    def shadow(self, outline: np.ndarray, reach: float) -> np.ndarray:
        """(h, w, 1) factor: dark along the outline's upper edge, fading over `reach` pixels."""
        mask = self._mask(outline)
        lit = np.zeros_like(mask)
        step = max(int(round(reach * _SCALE)), 1)
        lit[step:] = mask[:-step] if step < len(mask) else 0
        lit = cv2.blur(lit, (2 * step + 1, 2 * step + 1))
        return (0.45 + 0.55 * lit)[..., None]

    def blend(self) -> None:
        small = (self.piece.shape[1], self.piece.shape[0])
        cover = cv2.resize(self.cover, small, interpolation=cv2.INTER_AREA)[..., None]
        colour = cv2.resize(self.colour * self.cover[..., None], small, interpolation=cv2.INTER_AREA)
        self.piece[:] = self.piece * (1 - cover) + colour

    def _mask(self, outline: np.ndarray) -> np.ndarray:
        mask = np.zeros(self.shape, np.float32)
        cv2.fillPoly(mask, [self._fixed(outline)], 1.0, cv2.LINE_8, _SHIFT)
        return mask

    def _fixed(self, points: np.ndarray) -> np.ndarray:
        enlarged = (points - self.corner + 0.5) * _SCALE - 0.5
        return np.round(enlarged * 2**_SHIFT).astype(np.int32)


def _rounded(points: np.ndarray, closed: bool = True, end: np.ndarray | None = None) -> np.ndarray:
    """A Catmull-Rom curve through (n, 2) points, four times as dense."""
    if end is not None:
        points = np.concatenate((points, end[None]))
    if closed:
        padded = np.concatenate((points[-1:], points, points[:2]))
    else:
        padded = np.concatenate((points[:1], points, points[-1:]))
    t = np.arange(4)[:, None] / 4
    a, b, c, d = (padded[k : len(padded) - 3 + k, None] for k in range(4))
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    curve = curve.reshape(-1, 2)
    return curve if closed else np.concatenate((curve, points[-1:]))
