"""How strongly a face moves: eyes, mouth and all of it; and a mouth's movements among another face's."""

from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np

from aniportrait.face.canonical import CanonicalFace
from aniportrait.face.topology import INNER_LIP_PAIRS, LEFT_EYE, LEFT_LID_PAIRS, RIGHT_EYE, RIGHT_LID_PAIRS

STRONGEST = 3.0
EYE_REACH = (0.3, 2.0)
"""cm from the lids to where the eye's region begins to end, and ends: lids and their folds, hardly the brows."""
MOUTH_HEIGHT = (-2.8, 0.9)
"""cm of the canonical face: up to the nose's foot all is the mouth's, jaw and chin too; from below the eyes nothing."""
_MEETING = np.concatenate((INNER_LIP_PAIRS, RIGHT_LID_PAIRS, LEFT_LID_PAIRS))


@dataclass(frozen=True, eq=False)
class ExpressionRegions:
    """How much of each vertex is the right eye's, the left eye's, the mouth's; the rest is neither's. (468,) each."""

    right_eye: np.ndarray
    left_eye: np.ndarray
    mouth: np.ndarray

    @property
    def eyes(self) -> np.ndarray:
        return self.right_eye + self.left_eye


@lru_cache(maxsize=2)
def expression_regions(face: CanonicalFace) -> ExpressionRegions:
    """Regions that pass into each other without a crease; where they are used they make 1 with what is left."""
    vertices = face.vertices.astype(np.float64)
    mouth = _fading(vertices[:, 1], *MOUTH_HEIGHT)
    right, left = (
        _fading(np.linalg.norm(vertices[:, None] - vertices[lids], axis=-1).min(axis=1), *EYE_REACH)
        for lids in (RIGHT_EYE, LEFT_EYE)
    )
    return ExpressionRegions(right * (1.0 - mouth), left * (1.0 - mouth), mouth)


def _fading(values: np.ndarray, first: float, last: float) -> np.ndarray:
    """1 up to `first`, 0 from `last` on, without a bend."""
    share = np.clip((last - values) / (last - first), 0.0, 1.0)
    return share * share * (3.0 - 2.0 * share)


@dataclass(frozen=True)
class ExpressionStrength:
    """What expressions are multiplied by: 0 is none, 1 as they are, 3 the most.

    Brows, forehead and nose move by `whole` alone.

    Args:
        whole: of the face.
        eyes: of lids and their folds, on top of `whole`.
        mouth: of mouth, chin, jaw and lower cheeks, on top of `whole`.
    """

    whole: float = 1.0
    eyes: float = 1.0
    mouth: float = 1.0

    def __post_init__(self) -> None:
        for part in fields(self):
            value = getattr(self, part.name)
            if not 0.0 <= value <= STRONGEST:
                raise ValueError(
                    f"expression strength of {part.name} ({value:g}) must be from 0 to {STRONGEST:g}"
                )

    def face(self, rest: np.ndarray, offsets: np.ndarray, canonical: CanonicalFace) -> np.ndarray:
        """(f, 468, 3) meshes of a (468, 3) face at rest moved by offsets (f, 468, 3), cm; at strength 1 their sum.

        Above 1, lids and lips that would pass through each other stop where they meet.
        """
        regions = expression_regions(canonical)
        strength = self.whole * (1 + (self.eyes - 1) * regions.eyes + (self.mouth - 1) * regions.mouth)
        moved = rest + strength.astype(offsets.dtype)[:, None] * offsets
        if self.whole * max(1.0, self.eyes, self.mouth) > 1.0:
            _part(moved, rest + offsets)
        return moved


AS_THEY_ARE = ExpressionStrength()


def _part(meshes: np.ndarray, allowed: np.ndarray) -> None:
    """Undo in place what facing lids and lips overlap more than they do in the `allowed` meshes."""
    upper, lower = _MEETING.T
    least = np.minimum(allowed[:, upper, 1] - allowed[:, lower, 1], 0.0)
    overlap = np.maximum(least - (meshes[:, upper, 1] - meshes[:, lower, 1]), 0.0)
    meshes[:, upper, 1] += 0.5 * overlap
    meshes[:, lower, 1] -= 0.5 * overlap


def speaking_offsets(speech: np.ndarray, film: np.ndarray, canonical: CanonicalFace) -> np.ndarray:
    """Offsets (f, 468, 3) of a face whose mouth speaks and whose other parts do as in a film; both from rest, cm."""
    mouth = expression_regions(canonical).mouth.astype(film.dtype)[:, None]
    return mouth * speech + (1.0 - mouth) * film
