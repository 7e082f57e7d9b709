"""Landmarks -> pose image, pixel for pixel as the original draws it."""

from itertools import pairwise

import cv2
import numpy as np

from aniportrait.face.topology import EDGE_COLOURS, EDGES, FOREHEAD_EDGES, OVAL_COLOUR, VERTICES

CANVAS = 512
THICKNESS = 2

_COLOURS: list[tuple[int, ...]] = [tuple(colour) for colour in EDGE_COLOURS.tolist()]


def _strokes(edges: np.ndarray, colours: list[tuple[int, ...]]) -> list[tuple[np.ndarray, tuple[int, ...]]]:
    """Edges that go on from one another in one colour, as chains of points: drawn at once, they cost half."""
    strokes: list[tuple[list[int], tuple[int, ...]]] = []
    for (start, end), colour in zip(edges.tolist(), colours, strict=True):
        if strokes and strokes[-1][1] == colour and strokes[-1][0][-1] == start:
            strokes[-1][0].append(end)
        else:
            strokes.append(([start, end], colour))
    return [(np.array(chain), colour) for chain, colour in strokes]


_STROKES = _strokes(EDGES, _COLOURS)
_CLOSED_STROKES = _strokes(
    np.concatenate((FOREHEAD_EDGES, EDGES)), [*[OVAL_COLOUR] * len(FOREHEAD_EDGES), *_COLOURS]
)


def draw_pose_image(points: np.ndarray, width: int, height: int, *, forehead: bool = False) -> np.ndarray:
    """Coloured lines of oval, eyes, brows and lips on black.

    The original draws on 512 x 512 whatever is asked for and then resizes; a line with an end outside the
    picture is left out.

    Args:
        points: (n >= 468, 2 or more) x, y in [0, 1] of width and height.
        forehead: close the face's oval across the forehead.

    Returns:
        (height, width, 3) uint8, channels in the order the networks see.
    """
    image = np.zeros((CANVAS, CANVAS, 3), dtype=np.uint8)
    _draw(image, points, forehead)
    return image if (width, height) == (CANVAS, CANVAS) else cv2.resize(image, (width, height))


def draw_pose_images(points: np.ndarray, size: int) -> np.ndarray:
    """`draw_pose_image` for many: (f, n, 2 or more) -> (f, size, size, 3), without an allocation for each."""
    images = np.zeros((len(points), size, size, 3), dtype=np.uint8)
    canvas = np.zeros((CANVAS, CANVAS, 3), dtype=np.uint8)
    for image, face in zip(images, points, strict=True):
        if size == CANVAS:
            _draw(image, face, forehead=False)
        else:
            canvas[:] = 0
            _draw(canvas, face, forehead=False)
            cv2.resize(canvas, (size, size), dst=image)
    return images


def _draw(image: np.ndarray, points: np.ndarray, forehead: bool) -> None:
    if points.ndim != 2 or points.shape[0] < VERTICES or points.shape[1] < 2:
        raise ValueError(f"points {points.shape} must have the shape (n >= {VERTICES}, 2 or more)")
    xy = points[:VERTICES, :2].astype(np.float32)  # the original keeps points in float32
    with np.errstate(invalid="ignore"):
        seen = np.logical_and(xy >= 0.0, xy <= 1.0).min(axis=1)
        pixels = np.minimum(np.floor(xy * CANVAS), CANVAS - 1).astype(np.int32)
    for chain, colour in _CLOSED_STROKES if forehead else _STROKES:
        if seen[chain].all():
            cv2.polylines(image, [pixels[chain]], False, colour, THICKNESS)
            continue
        for start, end in pairwise(chain.tolist()):
            if seen[start] and seen[end]:
                cv2.line(image, pixels[start].tolist(), pixels[end].tolist(), colour, THICKNESS)
