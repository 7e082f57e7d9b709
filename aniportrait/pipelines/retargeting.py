"""A driver's expressions on the face of someone with other eyes and another mouth."""

from dataclasses import dataclass

import numpy as np

from aniportrait.data.synthetic_expressions import LOWER_LIP, UPPER_LIP
from aniportrait.face.canonical import CanonicalFace
from aniportrait.face.topology import (
    INNER_LIP_PAIRS,
    LEFT_LID_PAIRS,
    MOUTH_CORNERS,
    RIGHT_LID_PAIRS,
)
from aniportrait.face.track import FaceTrack
from aniportrait.pipelines.expression import expression_regions
from aniportrait.pipelines.resting_face import resting_mesh

CALMEST = 0.1
"""Share of a driver's valid frames that are averaged to the face at rest: one alone would carry its own noise."""
SMALLEST_OPENING = 0.1
"""cm: eyes that open less at rest are taken as this open, or their noise would be a flutter."""
RATIOS = (0.5, 2.0)
"""Least and most that a driver's movements are scaled by."""
WIDEST = 2.0
"""Most that an eye opens beyond its opening at rest, as a factor."""


@dataclass(frozen=True, eq=False)
class Retargeting:
    """From the meshes of a driver to the movements of a portrait.

    MediaPipe's metric meshes are all of one size; what differs is proportions. Movements are carried over as they are,
    but lids by the ratio of the eyes' openings and the mouth's breadth by the ratio of the mouths'. Then each eye is as
    far open, of what it is at rest, as the driver's, and lips are as far apart as the driver's: both shut when they do.

    Args:
        portrait, driver: (468, 3) their faces at rest, cm.
        face: the canonical face.
    """

    portrait: np.ndarray
    driver: np.ndarray
    face: CanonicalFace

    @staticmethod
    def between(portrait: FaceTrack, driving: FaceTrack, face: CanonicalFace) -> "Retargeting":
        """From a driver to the face in a portrait's track, each brought to rest first."""
        rest = resting_mesh(portrait.vertices[0], portrait.blendshapes[0], face)
        valid = np.flatnonzero(driving.valid)
        activity = driving.blendshapes[valid, 1:].sum(axis=1)
        calm = valid[np.argsort(activity, kind="stable")[: max(1, round(CALMEST * len(valid)))]]
        driver = resting_mesh(
            driving.vertices[calm].mean(axis=0), driving.blendshapes[calm].mean(axis=0), face
        )
        return Retargeting(rest, driver, face)

    def __call__(self, vertices: np.ndarray, steady: np.ndarray | None = None) -> np.ndarray:
        """(f, 468, 3) offsets in cm from the portrait at rest, of a driver's meshes (f, 468, 3).

        Skin follows the `steady` meshes, where they are given: `vertices` without trembling. How far eyes and lips are
        open is always taken from `vertices`, for a blink or a closed lip may last one frame.
        """
        steady = vertices if steady is None else steady
        regions = expression_regions(self.face)
        eyes = ((RIGHT_LID_PAIRS, regions.right_eye), (LEFT_LID_PAIRS, regions.left_eye))
        scale = np.ones_like(self.portrait)
        for lids, weight in eyes:
            ratio = np.clip(_open(self.portrait, lids) / _open(self.driver, lids), *RATIOS)
            scale += weight[:, None] * (ratio - 1.0)
        breadth = np.clip(_breadth(self.portrait) / _breadth(self.driver), *RATIOS)
        scale[:, 0] += regions.mouth * (breadth - 1.0)
        meshes = self.portrait + scale * (steady - self.driver)
        for lids, _ in eyes:
            self._open_eye(meshes, vertices, lids)
        self._open_mouth(meshes, vertices, np.array((breadth, 1.0, 1.0)))
        return meshes - self.portrait

    def _open_eye(self, meshes: np.ndarray, vertices: np.ndarray, lids: np.ndarray) -> None:
        """Put the upper lid above the lower one: the portrait's opening, times how open the driver's eye is."""
        upper, lower = lids.T
        share = np.clip(_opening(vertices, lids) / _open(self.driver, lids), 0.0, WIDEST)
        opening = self.portrait[upper] - self.portrait[lower]
        meshes[:, upper] = meshes[:, lower] + share[:, None, None] * opening

    def _open_mouth(self, meshes: np.ndarray, vertices: np.ndarray, scale: np.ndarray) -> None:
        """Bring the lips as far apart as the driver's, either by half; their outer rings follow ever less."""
        upper, lower = INNER_LIP_PAIRS.T
        wanted = scale * (vertices[:, upper] - vertices[:, lower])
        wanted[..., 1] = np.maximum(wanted[..., 1], 0.0)
        missing = 0.5 * (wanted - (meshes[:, upper] - meshes[:, lower]))
        for ring in range(len(UPPER_LIP)):
            share = (ring + 1) / len(UPPER_LIP)
            meshes[:, UPPER_LIP[ring, 1:-1]] += share * missing
            meshes[:, LOWER_LIP[ring, 1:-1]] -= share * missing


def _opening(mesh: np.ndarray, lids: np.ndarray) -> np.ndarray:
    """Mean height of an eye's opening, cm: (..., 468, 3) -> (...)."""
    upper, lower = lids.T
    return (mesh[..., upper, 1] - mesh[..., lower, 1]).mean(axis=-1)


def _open(mesh: np.ndarray, lids: np.ndarray) -> float:
    """The opening of a (468, 3) face at rest, large enough to be compared with."""
    return max(float(_opening(mesh, lids)), SMALLEST_OPENING)


def _breadth(mesh: np.ndarray) -> float:
    right, left = mesh[MOUTH_CORNERS]
    return float(np.linalg.norm(left - right))
