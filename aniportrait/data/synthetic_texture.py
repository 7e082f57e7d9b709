"""Paint for invented people: one texture a person, laid out as synthetic_head's tiles."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator

from aniportrait.data.synthetic_expressions import LOWER_LIP, UPPER_LIP
from aniportrait.data.synthetic_head import (
    ATLAS_SIZE,
    CROWN_EDGE,
    CROWN_TILE,
    EAR_TILE,
    FACE_TILE,
    HAIR_TILE,
    TORSO_TILE,
    hair_start,
)
from aniportrait.data.synthetic_people import Looks
from aniportrait.face.canonical import CanonicalFace
from aniportrait.face.topology import FLIP, INNER_LIPS, LEFT_EYE, OUTER_LIPS, RIGHT_BROW, RIGHT_EYE

_SIDE = FACE_TILE[2]
_NOSTRIL = np.array((238, 79, 166, 59, 60, 20))
_NOSE_WING = np.array((98, 64, 102, 49, 131))
_LID_FOLD = np.array((247, 30, 29, 27, 28, 56, 190))
_CHEEK_FOLD = np.array((129, 203, 206, 216, 212))


@dataclass(frozen=True)
class FaceChart:
    """Where the canonical face lies in the face tile; the same for everyone.

    Args:
        face: the canonical face.
    """

    face: CanonicalFace

    @cached_property
    def spots(self) -> np.ndarray:
        """(468, 2) pixel of every vertex."""
        return self.face.uv.astype(np.float64) * _SIDE

    @cached_property
    def positions(self) -> np.ndarray:
        """(side, side, 3) canonical point in cm under every pixel, held constant beyond the oval."""
        grid = np.stack(np.meshgrid(np.arange(_SIDE), np.arange(_SIDE)), axis=-1)[::4, ::4] + 1.5
        inside = LinearNDInterpolator(self.spots, self.face.vertices)(grid)
        beyond = NearestNDInterpolator(self.spots, self.face.vertices)(grid)
        coarse = np.where(np.isnan(inside), beyond, inside).astype(np.float32)
        return cv2.resize(coarse, (_SIDE, _SIDE), interpolation=cv2.INTER_LINEAR)

    def area(self, vertices: np.ndarray, blur: float) -> np.ndarray:
        """(side, side, 1) in 0..1: the polygon through some vertices, with a soft edge of `blur` pixels."""
        mask = np.zeros((_SIDE, _SIDE), np.float32)
        cv2.fillPoly(mask, [self._fixed(vertices)], 1.0, cv2.LINE_8, 4)
        return _soft(mask, blur)

    def line(self, vertices: np.ndarray, width: int, blur: float, closed: bool = False) -> np.ndarray:
        """(side, side, 1) in 0..1: the line through some vertices, on both sides of the face."""
        mask = np.zeros((_SIDE, _SIDE), np.float32)
        for chain in (vertices, FLIP[vertices]):
            cv2.polylines(mask, [self._fixed(chain)], closed, 1.0, width, cv2.LINE_8, 4)
        return _soft(mask, blur)

    def spot(self, x: float, y: float, reach: float) -> np.ndarray:
        """(side, side, 1) a Gaussian about a canonical (x, y) in cm and its mirror image."""
        across, up = np.abs(self.positions[..., :1]), self.positions[..., 1:2]
        return np.exp(-((across - x) ** 2 + (up - y) ** 2) / (2 * reach**2))

    def _fixed(self, vertices: np.ndarray) -> np.ndarray:
        return np.round(self.spots[vertices] * 16).astype(np.int32)


def paint(chart: FaceChart, looks: Looks) -> np.ndarray:
    """(height, width, 3) float32 RGB in [0, 1]: the whole texture of a person."""
    generator = np.random.default_rng(looks.texture)
    width, height = ATLAS_SIZE
    atlas = np.empty((height, width, 3), np.float32)
    atlas[:] = looks.skin
    for tile, picture in (
        (FACE_TILE, _face(chart, looks, generator)),
        (CROWN_TILE, _crown(chart, looks, generator)),
        (TORSO_TILE, _torso(looks, generator)),
        (HAIR_TILE, _strands(HAIR_TILE[2:], looks, generator)),
        (EAR_TILE, _ear(looks)),
    ):
        x, y, w, h = tile
        rim = 0 if tile is FACE_TILE else 2  # bilinear look-up reaches over a tile's edge
        picture = cv2.copyMakeBorder(picture[:h, :w], rim, rim, rim, rim, cv2.BORDER_REPLICATE)
        atlas[y - rim : y + h + rim, x - rim : x + w + rim] = picture[: height - y + rim]
    return np.clip(atlas, 0.0, 1.0)


def _face(chart: FaceChart, looks: Looks, generator: np.random.Generator) -> np.ndarray:
    skin, hair = np.array(looks.skin, np.float32), np.array(looks.hair, np.float32)
    x, y = chart.positions[..., :1], chart.positions[..., 1:2]
    paint = np.tile(skin, (_SIDE, _SIDE, 1))
    paint = paint * (1 + 0.035 * _noise(generator, 12) + 0.015 * _noise(generator, 1.5))
    paint = _tinted(paint, skin * (1.02, 0.70, 0.66), 0.55 * looks.blush * chart.spot(4.4, -1.2, 1.5))
    paint = _tinted(paint, skin * (1.02, 0.76, 0.72), 0.35 * chart.spot(0.0, -1.3, 0.9))
    paint = _tinted(paint, skin * (0.74, 0.64, 0.64), 0.50 * chart.spot(3.0, 1.45, 0.55))
    paint = _tinted(
        paint, skin * (0.62, 0.52, 0.50), 0.45 * chart.spot(1.75, 3.1, 0.6) + 0.28 * chart.spot(3.3, 3.5, 0.9)
    )
    paint = _tinted(
        paint,
        skin * (0.60, 0.50, 0.48),
        0.30 * chart.spot(0.0, -6.1, 0.55) + 0.16 * chart.spot(0.0, -2.9, 0.35),
    )
    paint = _tinted(
        paint,
        skin * (1.12, 1.10, 1.08),
        0.45 * chart.spot(0.0, 1.5, 0.45) + 0.30 * chart.spot(0.0, -0.3, 0.5),
    )
    fold = (
        0.45 * chart.line(_NOSE_WING, 3, 2.5)
        + 0.40 * chart.line(_LID_FOLD, 3, 1.6)
        + 0.16 * chart.line(_CHEEK_FOLD, 5, 5)
    )
    paint = _tinted(paint, skin * (0.50, 0.38, 0.36), np.clip(fold, 0, 1))
    nostril = chart.area(_NOSTRIL, 1.2) + chart.area(FLIP[_NOSTRIL], 1.2)
    paint = _tinted(paint, skin * (0.28, 0.18, 0.17), 0.85 * nostril)
    paint = _freckled(paint, chart, looks, generator)
    beard = np.clip((-2.6 - y + 0.25 * np.abs(x)) / 1.6, 0, 1) * (1 - chart.area(OUTER_LIPS, 4))
    beard = beard * (0.45 + 0.35 * _noise(generator, 0.8))
    paint = _tinted(paint, 0.6 * hair + 0.15 * skin, np.clip(0.55 * looks.stubble * beard, 0, 0.8))
    paint = _lips(paint, chart, looks, generator)
    paint = _brows(paint, chart, looks, generator)
    lid = chart.line(np.append(RIGHT_EYE[8:], RIGHT_EYE[0]), 4, 1.2)
    paint = _tinted(paint, 0.35 * hair + 0.08, np.clip(lid * (0.45 + 0.75 * looks.lashes), 0, 0.95))
    lower = chart.line(RIGHT_EYE[:9], 2, 1.0)
    paint = _tinted(paint, skin * (0.55, 0.40, 0.40), np.clip(lower * (0.45 + 0.4 * looks.lashes), 0, 0.8))
    ball = chart.area(RIGHT_EYE, 0.8) + chart.area(LEFT_EYE, 0.8)
    paint = _tinted(paint, np.array((0.82, 0.78, 0.76)), ball)
    edge = np.interp(np.abs(x), (0.0, 3.5, 6.0, 7.0, 8.0), (8.1, 7.9, 6.0, 4.8, 3.4)).astype(np.float32)
    edge = edge + looks.hairline + 0.5 * np.exp(-(((x / 7.7 - 0.5 * looks.parting) / 0.35) ** 2))
    strands = 0.30 * _noise(generator, 1.0, stretch=9) + 0.25 * _noise(generator, 3.0, stretch=5)
    covered = np.clip((y - edge + strands) / 0.55, 0, 1)
    return _tinted(paint, hair * (0.85 + 0.35 * strands), covered)


def _lips(paint: np.ndarray, chart: FaceChart, looks: Looks, generator: np.random.Generator) -> np.ndarray:
    lips = np.array(looks.lips, np.float32) * (1 + 0.06 * _noise(generator, 1.0, stretch=4))
    paint = _tinted(paint, lips, 0.92 * chart.area(OUTER_LIPS, 2.0))
    paint = _tinted(paint, lips * 0.78, 0.45 * chart.line(UPPER_LIP[2], 5, 2.5))
    paint = _tinted(paint, np.clip(lips * 1.22 + 0.04, 0, 1), 0.40 * chart.line(LOWER_LIP[1, 3:8], 5, 2.5))
    paint = _tinted(paint, lips * 0.72, 0.50 * chart.line(OUTER_LIPS, 2, 1.6, closed=True))
    return _tinted(paint, lips * (0.42, 0.32, 0.34), 0.85 * chart.line(INNER_LIPS, 2, 1.0, closed=True))


def _brows(paint: np.ndarray, chart: FaceChart, looks: Looks, generator: np.random.Generator) -> np.ndarray:
    """Strokes of hair between the brow's edges, thicker or thinner by `looks.brow`."""
    dark = 0.75 * np.array(looks.hair, np.float32) + 0.02
    lower, upper = RIGHT_BROW[:5], RIGHT_BROW[5:]
    mask = np.zeros((_SIDE, _SIDE), np.float32)
    for mirror in (False, True):
        low, high = (
            chart.spots[FLIP[lower] if mirror else lower],
            chart.spots[FLIP[upper] if mirror else upper],
        )
        middle, half = (low + high) / 2, (high - low) / 2 * 0.82 * looks.brow
        half = half * np.array((0.35, 0.8, 1.0, 1.05, 0.8))[:, None]
        ring = np.concatenate((middle - half, (middle + half)[::-1]))
        cv2.fillPoly(mask, [np.round(ring * 16).astype(np.int32)], 1.0, cv2.LINE_8, 4)
    body = _soft(mask, 2.6)
    hairs = np.clip(0.85 + 0.35 * _noise(generator, 0.9, stretch=3), 0, 1.2)
    return _tinted(paint, dark, np.clip(0.92 * body * hairs, 0, 0.95))


def _freckled(
    paint: np.ndarray, chart: FaceChart, looks: Looks, generator: np.random.Generator
) -> np.ndarray:
    dots = np.clip(_noise(generator, 1.6) - 1.7, 0, 1) * 1.4
    where = chart.spot(2.2, 0.2, 1.8) + 0.5 * chart.spot(5.0, -1.0, 1.5)
    return _tinted(
        paint, np.array(looks.skin) * (0.72, 0.55, 0.45), np.clip(looks.freckles * dots * where, 0, 0.7)
    )


def _crown(chart: FaceChart, looks: Looks, generator: np.random.Generator) -> np.ndarray:
    """Skin that turns into hair on the way back, along the whole edge of the face."""
    width, height = CROWN_TILE[2:]
    column = np.linspace(0, len(CROWN_EDGE) - 1, width)
    edge = np.interp(column, np.arange(len(CROWN_EDGE)), chart.face.vertices[CROWN_EDGE, 1])
    way = np.linspace(0, 1, height)[:, None] ** 1.3
    pattern = _noise(generator, 1.2, stretch=8, size=(height, width))
    depth = way - hair_start(edge)[None]
    hairy = np.clip((depth[..., None] + 0.05 * pattern) / 0.06, 0, 1)
    skin = (
        np.array(looks.skin, np.float32) * (1 - 0.35 * np.clip(way * 2, 0, 1) * (edge < -3)[None])[..., None]
    )
    beard = looks.stubble * 0.30 * np.clip((-2.0 - edge) / 2, 0, 1) * np.clip(1 - way * 3, 0, 1)
    skin = _tinted(skin, 0.6 * np.array(looks.hair) + 0.15 * np.array(looks.skin), beard[..., None])
    strands = _strands((width, height), looks, generator)
    return _tinted(skin, strands * (0.70 + 0.30 * np.clip(depth[..., None] * 3, 0, 1)), hairy)


def _strands(size: tuple[int, ...], looks: Looks, generator: np.random.Generator) -> np.ndarray:
    """(h, w, 3) hair running down the tile, with a soft band of gloss."""
    width, height = size
    fine = _noise(generator, 0.8, stretch=14, size=(height, width))
    locks = _noise(generator, 3.0, stretch=8, size=(height, width))
    gloss = np.exp(-(((np.linspace(0, 1, height) - 0.35) / 0.16) ** 2))[:, None, None]
    light = 1 + 0.16 * fine + 0.18 * locks + 0.30 * gloss * (1 + 0.4 * locks)
    return np.array(looks.hair, np.float32) * light + 0.035 * gloss * np.clip(1 + locks, 0, 2)


def _torso(looks: Looks, generator: np.random.Generator) -> np.ndarray:
    """Neck, shadowed under the chin, and a shirt with a collar."""
    width, height = TORSO_TILE[2:]
    down = np.linspace(0, 1, height)[:, None, None]
    across = np.abs(np.linspace(-1, 1, width))[None, :, None]
    skin = np.array(looks.skin, np.float32) * (1 - 0.45 * np.exp(-((down / 0.20) ** 2))) * (0.97, 0.93, 0.91)
    skin = skin * (1 - 0.10 * np.exp(-(((across - 0.16) / 0.05) ** 2)) * (down > 0.15))
    collar = 0.40 + 0.14 * np.clip(1 - across / 0.45, 0, 1) ** (1 + looks.texture % 2)
    cloth = np.array(looks.shirt, np.float32) * (1 + 0.05 * _noise(generator, 5, size=(height, width)))
    if looks.texture % 3 == 0:
        cloth = cloth * (1 - 0.30 * (np.sin(down * 70) > 0.4))
    cloth = cloth * (1 - 0.45 * np.exp(-(((down - collar - 0.012) / 0.014) ** 2)))
    return _tinted(skin, cloth, np.clip((down - collar) / 0.012, 0, 1)).astype(np.float32)


def _ear(looks: Looks) -> np.ndarray:
    """Rows run from the ear's hollow to its rim."""
    width, height = EAR_TILE[2:]
    out = np.linspace(0, 1, height)[:, None, None]
    hollow = np.exp(-((out / 0.45) ** 2)) + 0.35 * np.exp(-(((out - 0.72) / 0.09) ** 2))
    skin = np.array(looks.skin, np.float32) * (1.0, 0.90, 0.87)
    return np.broadcast_to(skin * (1 - 0.42 * np.clip(hollow, 0, 1)), (height, width, 3)).astype(np.float32)


def _tinted(paint: np.ndarray, colour: np.ndarray, strength: np.ndarray) -> np.ndarray:
    return (paint + (colour - paint) * strength).astype(np.float32)


def _soft(mask: np.ndarray, blur: float) -> np.ndarray:
    return cv2.GaussianBlur(mask, (0, 0), blur)[..., None]


def _noise(
    generator: np.random.Generator, blur: float, stretch: float = 1.0, size: tuple[int, int] = (_SIDE, _SIDE)
) -> np.ndarray:
    """(h, w, 1) smooth noise of unit variance; `stretch` draws it out downwards."""
    coarse = 2 if blur >= 2 or stretch > 2 else 1  # blurred noise needs no more
    small = (-(-size[0] // coarse), -(-size[1] // coarse))
    white = generator.standard_normal(small, dtype=np.float32)
    smooth = cv2.GaussianBlur(white, (0, 0), sigmaX=blur / coarse, sigmaY=blur * stretch / coarse)
    if coarse > 1:
        smooth = cv2.resize(smooth, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return (smooth / smooth.std())[..., None]
