"""Where the faces of a frame are, also small ones in a large picture.

The landmarker surely finds faces from a sixth of the longer side of what it is shown on, whatever the pixels, and few
below a tenth. So what a shrunk picture does not show is looked for in overlapping tiles of the whole one.
"""

from collections.abc import Iterator
from itertools import product

import cv2
import numpy as np

from aniportrait.data.media import Still
from aniportrait.data.sources import FaceBox
from aniportrait.face.detector import DetectedFace
from aniportrait.face.landmarks import FaceLandmarker

LOOK = 640
"""Longer side, pixels, of what the landmarker is shown at most: more pixels cost, and find no more."""
TILES = (10368, 3456, 1152, 384)
"""Sides of the tiles, pixels of the film; half overlaps the next. Those of 384 hold faces of 64 to 192 pixels whole,
those of 1152 of 192 to 576, and so on."""
AROUND = 2.0
"""Side of what is looked at about a source's box, in its longer sides."""

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels."""


def faces_of(
    still: Still,
    landmarker: FaceLandmarker,
    box: FaceBox | None = None,
    at_least: int = 1,
) -> tuple[list[DetectedFace], tuple[int, int]]:
    """Faces of a frame, largest first, in pixels of the frame shrunk to LOOK, and that one's width and height.

    Args:
        still: the frame.
        landmarker: finds them.
        box: where the one that is wanted is, if a source says so.
        at_least: as many faces are looked for, in ever smaller tiles; none of them need be there.
    """
    picture = still.pixels(LOOK)
    size = picture.shape[1], picture.shape[0]
    faces = landmarker.detections(picture)
    wanted = None if box is None else box.in_picture(*size)
    if _shows(faces, wanted, at_least):
        return faces, size
    whole = still.pixels()
    for tiles in _closer_looks(whole, box):
        found = _in_tiles(whole, tiles, landmarker, size)
        if _shows(found, wanted):
            faces = _distinct(faces + found)
        if _shows(faces, wanted, at_least):
            break
    return sorted(faces, key=lambda face: -face.area), size


def is_inside(face: DetectedFace, box: Box) -> bool:
    """Whether its centre is."""
    x, y = face.centre
    return bool(box[0] <= x <= box[2] and box[1] <= y <= box[3])


def shrunk(picture: np.ndarray, longest_side: int) -> np.ndarray:
    """(h, w, 3) uint8 with its longer side of so many pixels at most."""
    if (scale := longest_side / max(picture.shape[:2])) >= 1:
        return picture
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def _shows(faces: list[DetectedFace], wanted: Box | None, at_least: int = 1) -> bool:
    return sum(wanted is None or is_inside(face, wanted) for face in faces) >= at_least


def _closer_looks(whole: np.ndarray, box: FaceBox | None) -> Iterator[list[tuple[int, int, int, int]]]:
    """Tiles to look at, one set after the other: of what lies about the box, or of the whole picture."""
    height, width = whole.shape[:2]
    x0, y0, x1, y1 = 0, 0, width, height
    if box is not None:
        left, top, right, bottom = box.in_picture(width, height)
        reach = AROUND / 2 * max(right - left, bottom - top)
        x, y = (left + right) / 2, (top + bottom) / 2
        x0, y0 = max(0, round(x - reach)), max(0, round(y - reach))
        x1, y1 = min(width, round(x + reach)), min(height, round(y + reach))
        if min(x1 - x0, y1 - y0) < 2:  # the box lies beyond the picture
            return
        yield [(x0, y0, x1, y1)]
    for side in TILES:
        if side < max(x1 - x0, y1 - y0):
            rows, columns = _spans(y0, y1, side), _spans(x0, x1, side)
            yield [(left, top, right, bottom) for (top, bottom), (left, right) in product(rows, columns)]


def _spans(begin: int, end: int, side: int) -> list[tuple[int, int]]:
    """From `begin` to `end` in stretches of `side` that overlap by half at least."""
    count = 1 + max(0, -(-2 * (end - begin - side) // side))
    starts = np.linspace(begin, max(begin, end - side), count).round().astype(int).tolist()
    return [(start, min(start + side, end)) for start in starts]


def _in_tiles(
    whole: np.ndarray,
    tiles: list[tuple[int, int, int, int]],
    landmarker: FaceLandmarker,
    size: tuple[int, int],
) -> list[DetectedFace]:
    found: list[tuple[float, DetectedFace]] = []
    for x0, y0, x1, y1 in tiles:
        for face in landmarker.detections(shrunk(whole[y0:y1, x0:x1], LOOK)):
            off_centre = float(np.abs(face.landmarks[:, :2].mean(axis=0) - 0.5).max())
            found.append((off_centre, _in_whole(face, (x0, y0, x1, y1), whole, size)))
    return _distinct([face for _, face in sorted(found, key=lambda pair: pair[0])])


def _in_whole(
    face: DetectedFace, tile: tuple[int, int, int, int], whole: np.ndarray, size: tuple[int, int]
) -> DetectedFace:
    """A face of a tile as one of the shrunk picture."""
    height, width = whole.shape[:2]
    shown = tile[2] - tile[0], tile[3] - tile[1], tile[2] - tile[0]  # depth goes with the width
    moved = face.landmarks * np.array(shown) + (tile[0], tile[1], 0)
    landmarks = (moved / (width, height, width)).astype(np.float32)
    corners = np.stack((landmarks[:, :2].min(axis=0), landmarks[:, :2].max(axis=0))) * size
    x0, y0, x1, y1 = corners.reshape(-1).tolist()
    return DetectedFace(landmarks, face.blendshapes, (x0, y0, x1, y1))


def _distinct(faces: list[DetectedFace]) -> list[DetectedFace]:
    """One of each face, the first: a tile shows what another cuts."""
    kept: list[DetectedFace] = []
    for face in faces:
        if not any(is_inside(face, other.box) or is_inside(other, face.box) for other in kept):
            kept.append(face)
    return kept
