"""What each expression does to the vertices it takes hold of; the rest of the skin follows (synthetic_face)."""

import numpy as np

from aniportrait.face.topology import FLIP, LEFT_EYE, OVAL, RIGHT_EYE

EXPRESSIONS = (
    "jaw", "spread", "round", "raise", "drop", "press", "tuck", "smile",
    "blink_right", "blink_left", "brow_inner", "brow_outer",
)  # fmt: skip
"""The movements a face is made of, each 0 at rest and 1 when full; "press" counts openings of a full jaw."""

UPPER_LIP = np.array((
    (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291),
    (76, 184, 74, 73, 72, 11, 302, 303, 304, 408, 306),
    (62, 183, 42, 41, 38, 12, 268, 271, 272, 407, 292),
    (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308),
))  # fmt: skip
LOWER_LIP = np.array((
    (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291),
    (76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306),
    (62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292),
    (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308),
))  # fmt: skip
"""(4, 11) each: rings from the outer edge of the lip to the opening, columns from the right corner to the left."""

_ACROSS = np.linspace(-1, 1, 11)
_JAW_AXIS = np.array((0.0, 0.5, -3.5))
_JAW_ANGLE = np.radians(11.0)


def expression_handles(rest: np.ndarray) -> list[dict[int, np.ndarray]]:
    """Offsets (3,) in cm by vertex of each full movement but the brows', for a (468, 3) face at rest."""
    return [
        _jaw(rest),
        _corners(outward=0.50, forward=-0.40, upward=0.06, flatten=0.06),
        _corners(outward=-0.85, forward=0.75, upward=0.0, flatten=-0.10),
        _one_lip(UPPER_LIP, (0.0, 0.42, 0.05)),
        _one_lip(LOWER_LIP, (0.0, -0.45, 0.05)),
        _pressed(rest),
        _one_lip(LOWER_LIP, (0.0, 0.20, -0.45)) | _one_lip(UPPER_LIP, (0.0, 0.22, 0.05)),
        _corners(outward=0.40, forward=-0.30, upward=0.42, flatten=0.02),
        _lid_skin(RIGHT_EYE),
        _lid_skin(LEFT_EYE),
    ]


def _lip_profile(power: float = 2.2) -> np.ndarray:
    """(11,) 1 at the middle of the mouth, 0 at its corners."""
    return (1.0 - np.abs(_ACROSS) ** power) ** 0.8


def _jaw(rest: np.ndarray) -> dict[int, np.ndarray]:
    handles = _still()
    lower = 0.33 + 0.67 * _lip_profile()
    upper = 0.33 * (1 - _lip_profile(1.6)) - 0.02
    for ring in range(4):
        for column in range(11):
            handles[int(UPPER_LIP[ring, column])] = upper[column] * _hinge(rest[UPPER_LIP[ring, column]])
            handles[int(LOWER_LIP[ring, column])] = lower[column] * _hinge(rest[LOWER_LIP[ring, column]])
    for strength, indices in (
        (1.0, (18, 83, 200, 201, 199, 208, 175, 171, 152, 148, 32, 140, 176, 182, 194)),
        (0.93, (149, 170)),
        (0.84, (150, 169, 211, 204)),
        (0.66, (136, 135)),
        (0.42, (172, 138)),
        (0.20, (58, 215)),
        (0.06, (132, 177)),
    ):
        for index in indices:
            for vertex in (index, int(FLIP[index])):
                handles[vertex] = strength * _hinge(rest[vertex])
    return handles


def _hinge(point: np.ndarray) -> np.ndarray:
    """Offset of a (3,) point of the jaw when it is fully open."""
    _, y, z = point - _JAW_AXIS
    cos, sin = np.cos(_JAW_ANGLE), np.sin(_JAW_ANGLE)
    return np.array((0.0, cos * y - sin * z - y, 0.75 * (sin * y + cos * z - z)))


def _corners(outward: float, forward: float, upward: float, flatten: float) -> dict[int, np.ndarray]:
    """Move the mouth's corners; `flatten` thins the lips, a negative one puffs them. cm."""
    handles = _still()
    for lip, side in ((UPPER_LIP, -1.0), (LOWER_LIP, 1.0)):
        for ring, column in np.ndindex(lip.shape):
            across = _ACROSS[column]
            bend = across**2
            thin = flatten * side * (1 - ring / 3.0) * (1 - bend)
            x = outward * np.sign(across) * abs(across) ** 0.8
            z = forward * (0.35 + 0.65 * bend) if forward < 0 else forward * (1.0 - 0.25 * bend)
            handles[int(lip[ring, column])] = np.array((x, upward * bend + thin, z))
    return handles | _held(152, 175, 172, 136, 58)


def _one_lip(lip: np.ndarray, offset: tuple[float, float, float]) -> dict[int, np.ndarray]:
    """Move one lip along `offset`, most in the middle."""
    handles = _still() | _held(152, 175, 148, 172, 61)
    profile = _lip_profile()
    for ring, column in np.ndindex(lip.shape):
        handles[int(lip[ring, column])] = profile[column] * np.array(offset)
    return handles


def _pressed(rest: np.ndarray) -> dict[int, np.ndarray]:
    """What closes the opening of a full jaw, two thirds of it by the lower lip."""
    jaw = _jaw(rest)
    handles = _still() | _held(152, 175, 148, 172, 199, 200, 136)
    for ring, column in np.ndindex(UPPER_LIP.shape):
        gap = jaw[int(UPPER_LIP[3, column])] - jaw[int(LOWER_LIP[3, column])]
        share = (0.62, 0.80, 0.94, 1.0)[ring]
        if 0 < column < 10:
            handles[int(UPPER_LIP[ring, column])] = -0.34 * share * gap
            handles[int(LOWER_LIP[ring, column])] = 0.66 * share * gap
    return handles


def _lid_skin(eye: np.ndarray) -> dict[int, np.ndarray]:
    """The skin above a closing lid comes down by half; the lids themselves are moved by `FaceRig.moved`."""
    folds = np.array((247, 30, 29, 27, 28, 56, 190))
    folds = folds if eye[0] == RIGHT_EYE[0] else FLIP[folds]
    handles = _still() | _held(*RIGHT_EYE, *OVAL, 52, 53, 65, 55, 46, 107, 66, 105, 63, 70)
    middle = 1.0 - np.abs(np.linspace(-1, 1, 7)) ** 2
    for index, share in zip(folds, middle, strict=True):
        handles[int(index)] = np.array((0.0, -0.30 * share - 0.03, 0.05))
    return handles


def _still() -> dict[int, np.ndarray]:
    """Nose, eyes, forehead, cheek bones and ears, which a mouth does not move."""
    return _held(*_STILL)


def _held(*vertices: int) -> dict[int, np.ndarray]:
    """Vertices that stay, and their mirror images."""
    return {int(index): np.zeros(3) for vertex in vertices for index in (vertex, FLIP[vertex])}


_STILL = (
    1, 2, 4, 5, 6, 8, 9, 10, 19, 94, 151, 168, 195, 197, 98, 97, 129, 64, 48, 102, 49, 131, 134, 45, 220, 115,
    33, 133, 145, 159, 117, 118, 119, 120, 100, 111, 123, 116, 143, 35, 127, 234, 93, 54, 67, 109, 103, 21, 162,
    70, 63, 105, 66, 107, 104, 69, 108,
)  # fmt: skip
