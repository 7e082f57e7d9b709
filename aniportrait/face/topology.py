"""Index tables of MediaPipe's face mesh: 468 vertices of the skin, and 10 iris points behind them.

Left and right are the person's own: the left eye is on the right of an unmirrored picture.
"""

from itertools import pairwise

import numpy as np

VERTICES = 468
POINTS = 478

# Vertices 0..247 are the midline and the right side, 248..467 the left side in that order, mirrored.
# fmt: off
MIDLINE = np.array((
    0, 1, 2, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 94, 151, 152, 164, 168, 175, 195,
    197, 199, 200,
))
# fmt: on
RIGHT_SIDE = np.setdiff1d(np.arange(248), MIDLINE)
LEFT_SIDE = np.arange(248, VERTICES)


def _flip() -> np.ndarray:
    flip = np.arange(POINTS)
    flip[RIGHT_SIDE], flip[LEFT_SIDE] = LEFT_SIDE, RIGHT_SIDE
    flip[468:] = (473, 476, 475, 474, 477, 468, 471, 470, 469, 472)
    return flip


FLIP_POINTS = _flip()
"""(478,) the point that takes each one's place when the picture is mirrored: `points[:, FLIP_POINTS]`."""

FLIP = FLIP_POINTS[:VERTICES]
"""(468,) the same for mesh vertices; x (of the mesh: cm, of landmarks: 1 - x) must be mirrored as well."""


def _mirrored(right: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(index) for index in FLIP_POINTS[list(right)])


# Chains are in the order and direction in which the original draws them: overlapping lines depend on it.
# fmt: off
_OPEN_OVAL = (
    251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150, 136, 172,
    58, 132, 93, 234, 127, 162, 21,
)
# fmt: on
_FOREHEAD = (21, 54, 103, 67, 109, 10, 338, 297, 332, 284, 251)
_RIGHT_EYE_CHAINS = ((33, 7, 163, 144, 145, 153, 154, 155, 133), (33, 246, 161, 160, 159, 158, 157, 173, 133))
_RIGHT_BROW_CHAINS = ((46, 53, 52, 65, 55), (70, 63, 105, 66, 107))
_OUTER_BOTTOM_RIGHT = (61, 146, 91, 181, 84, 17)
_OUTER_BOTTOM_LEFT = (17, 314, 405, 321, 375, 291)
_INNER_BOTTOM_RIGHT = (78, 95, 88, 178, 87, 14)
_INNER_BOTTOM_LEFT = (14, 317, 402, 318, 324, 308)
_OUTER_TOP_RIGHT = (61, 185, 40, 39, 37, 0)
_OUTER_TOP_LEFT = (0, 267, 269, 270, 409, 291)
_INNER_TOP_RIGHT = (78, 191, 80, 81, 82, 13)
_INNER_TOP_LEFT = (13, 312, 311, 310, 415, 308)

_STROKES = (
    ((10, 200, 10), (_OPEN_OVAL,)),
    ((180, 200, 10), tuple(_mirrored(chain) for chain in _RIGHT_EYE_CHAINS)),
    ((180, 220, 10), tuple(_mirrored(chain) for chain in _RIGHT_BROW_CHAINS)),
    ((10, 200, 180), _RIGHT_EYE_CHAINS),
    ((10, 220, 180), _RIGHT_BROW_CHAINS),
    ((10, 180, 20), (_OUTER_BOTTOM_RIGHT,)),
    ((20, 10, 180), (_OUTER_BOTTOM_LEFT,)),
    ((100, 100, 30), (_INNER_BOTTOM_RIGHT,)),
    ((100, 150, 50), (_INNER_BOTTOM_LEFT,)),
    ((20, 80, 100), (_OUTER_TOP_RIGHT,)),
    ((80, 100, 20), (_OUTER_TOP_LEFT,)),
    ((120, 100, 200), (_INNER_TOP_RIGHT,)),
    ((150, 120, 100), (_INNER_TOP_LEFT,)),
)

_COLOURED_EDGES = [
    (edge, colour) for colour, chains in _STROKES for chain in chains for edge in pairwise(chain)
]

EDGES = np.array([edge for edge, _ in _COLOURED_EDGES], dtype=np.int64)
"""(114, 2) drawn segments in drawing order."""

EDGE_COLOURS = np.array([colour for _, colour in _COLOURED_EDGES], dtype=np.uint8)
"""(114, 3) their colours: channels 0, 1, 2 of the pose image as the network sees it."""

FOREHEAD_EDGES = np.array(list(pairwise(_FOREHEAD)), dtype=np.int64)
"""(10, 2) the segments that close the oval; drawn only on request, in OVAL_COLOUR."""

OVAL_COLOUR = (10, 200, 10)


def _ring(first: tuple[int, ...], *rest: tuple[int, ...]) -> np.ndarray:
    """A closed ring from chains that share their end points; the first point is not repeated."""
    points = list(first)
    for chain in rest:
        points += chain[1:] if chain[0] == points[-1] else chain[::-1][1:]
    return np.array(points[:-1], dtype=np.int64)


OVAL = _ring(_OPEN_OVAL, _FOREHEAD)
"""(36,) the face's outline."""

OUTER_LIPS = _ring(_OUTER_BOTTOM_RIGHT, _OUTER_BOTTOM_LEFT, _OUTER_TOP_LEFT, _OUTER_TOP_RIGHT)
INNER_LIPS = _ring(_INNER_BOTTOM_RIGHT, _INNER_BOTTOM_LEFT, _INNER_TOP_LEFT, _INNER_TOP_RIGHT)
"""(20,) each: rings from the right corner along the lower lip and back along the upper one."""

LIPS = np.concatenate((OUTER_LIPS, INNER_LIPS))
"""(40,) both rings: the vertices that lip errors are taken over."""

INNER_LIP_PAIRS = np.column_stack((_INNER_TOP_RIGHT[1:] + _INNER_TOP_LEFT[1:-1],
                                   _INNER_BOTTOM_RIGHT[1:] + _INNER_BOTTOM_LEFT[1:-1]))  # fmt: skip
"""(9, 2) facing inner vertices of the upper and lower lip: their distance is the mouth's opening."""

MOUTH_CORNERS = np.array((61, 291))
"""(2,) outer corners: right, left."""

RIGHT_EYE = _ring(*_RIGHT_EYE_CHAINS)
LEFT_EYE = FLIP[RIGHT_EYE]
"""(16,) each: rings from the outer corner along the lower lid and back along the upper one."""

RIGHT_LID_PAIRS = np.column_stack((RIGHT_EYE[:8:-1], RIGHT_EYE[1:8]))
LEFT_LID_PAIRS = FLIP[RIGHT_LID_PAIRS]
"""(7, 2) each: facing vertices of the upper and lower lid, outside in: their distance is the eye's opening."""

RIGHT_BROW = np.concatenate([np.array(chain) for chain in _RIGHT_BROW_CHAINS])
LEFT_BROW = FLIP[RIGHT_BROW]
"""(10,) each: lower edge, then upper edge, outside in."""

# fmt: off
_UPPER_RIGHT = np.array((
    7, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 33, 34, 35, 46, 52, 53, 54, 55, 56, 63, 65, 66, 67,
    68, 69, 70, 71, 103, 104, 105, 107, 108, 109, 110, 112, 113, 122, 124, 127, 128, 130, 133, 139, 143,
    144, 145, 153, 154, 155, 156, 157, 158, 159, 160, 161, 162, 163, 173, 188, 189, 190, 193, 196, 221,
    222, 223, 224, 225, 226, 228, 231, 232, 233, 243, 244, 245, 246, 247,
))
# fmt: on

UPPER_FACE = np.sort(np.concatenate((_UPPER_RIGHT, FLIP[_UPPER_RIGHT], (6, 8, 9, 10, 151, 168, 197))))
"""(167,) vertices at least 1.5 cm above the canonical face's origin: lower lids, eyes, brows, forehead."""

# fmt: off
BLENDSHAPES = (
    "_neutral", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight",
    "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight",
    "eyeLookDownLeft", "eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft",
    "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight", "eyeSquintLeft", "eyeSquintRight",
    "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose",
    "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight", "mouthFunnel",
    "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight",
    "mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower",
    "mouthShrugUpper", "mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight",
    "mouthUpperUpLeft", "mouthUpperUpRight", "noseSneerLeft", "noseSneerRight",
)
# fmt: on
"""The 52 coefficients in MediaPipe's order."""
