"""The face of a portrait as it would be at rest: speech is added to a closed mouth, not to a smile."""

from functools import lru_cache

import numpy as np
from scipy.optimize import lsq_linear

from aniportrait.data.synthetic_expressions import EXPRESSIONS
from aniportrait.data.synthetic_face import FaceRig
from aniportrait.face.canonical import CanonicalFace
from aniportrait.face.topology import BLENDSHAPES, INNER_LIP_PAIRS

MOVEMENTS = {
    "jaw": ("jawOpen",),
    "raise": ("mouthUpperUpLeft", "mouthUpperUpRight"),
    "drop": ("mouthLowerDownLeft", "mouthLowerDownRight"),
    "smile": ("mouthSmileLeft", "mouthSmileRight"),
    "round": ("mouthPucker", "mouthFunnel"),
}
"""What the embedded talkers' mouths are moved by -> the coefficients that measure it."""

TRUST = 8.0
"""How much a coefficient's word counts beside the lips' closing: cm of gap that a full movement too much is worth."""


def resting_mesh(vertices: np.ndarray, blendshapes: np.ndarray, face: CanonicalFace) -> np.ndarray:
    """The mesh without what the mouth is doing: lips together, no smile, no pout.

    The amounts are those nearest to the measured coefficients that bring the lips together: blendshapes alone leave an
    open mouth ajar, closing alone knows nothing of smiles.

    Args:
        vertices: (468, 3) metric mesh, cm.
        blendshapes: (52,) MediaPipe's coefficients of the same picture.
        face: the canonical face.
    Returns:
        (468, 3), cm.
    """
    fields = _movements(face)
    measured = np.array(
        [np.mean([blendshapes[BLENDSHAPES.index(name)] for name in names]) for names in MOVEMENTS.values()]
    )
    gap = _gaps(vertices)
    closing = np.stack([_gaps(field) for field in fields], axis=-1)
    system = np.concatenate((closing.reshape(-1, len(fields)), TRUST * np.eye(len(fields))))
    wanted = np.concatenate((gap.reshape(-1), TRUST * measured))
    amounts = lsq_linear(system, wanted, bounds=(0.0, 2.0)).x
    return vertices - np.tensordot(amounts, fields, axes=1)


def _gaps(mesh: np.ndarray) -> np.ndarray:
    """(9, 2) from the lower to the upper inner lip, up and forward."""
    upper, lower = INNER_LIP_PAIRS.T
    return (mesh[upper] - mesh[lower])[:, 1:]


@lru_cache(maxsize=2)
def _movements(face: CanonicalFace) -> np.ndarray:
    """(m, 468, 3) offsets in cm of each full movement."""
    movements = FaceRig(face).movements
    return np.stack([movements[EXPRESSIONS.index(name)] for name in MOVEMENTS])
