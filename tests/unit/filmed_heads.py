"""Heads that a perfect landmarker measured: anyone's face, moved by rule, filmed from anywhere."""

import numpy as np

from aniportrait.data.synthetic_expressions import EXPRESSIONS
from aniportrait.data.synthetic_face import FaceRig, track_geometry
from aniportrait.face.crop import SquareCrop
from aniportrait.face.head_pose import rigid_matrix
from aniportrait.face.topology import BLENDSHAPES
from aniportrait.face.track import FaceTrack
from aniportrait.pipelines.picture import Picture

MEASURED = {
    "jaw": ("jawOpen",),
    "smile": ("mouthSmileLeft", "mouthSmileRight"),
    "blink_right": ("eyeBlinkRight",),
    "blink_left": ("eyeBlinkLeft",),
    "brow_inner": ("browInnerUp",),
}


def filmed_head(
    rig: FaceRig,
    *,
    traits: dict[str, float] | None = None,
    size: float = 1.0,
    place: tuple[float, ...] = (0, 0, 0, 0, 0, -30),
    motion: np.ndarray | None = None,
    **movements: np.ndarray,
) -> FaceTrack:
    """A head's track.

    Args:
        size: of the head, in canonical ones.
        place: Euler degrees and cm, of a head that does not move.
        motion: (f, 6) degrees about its own axes, and head sizes (in cm of a canonical one) across the picture, up,
            and towards the camera as a share of the distance.
        movements: (f,) amounts of EXPRESSIONS.
    """
    frames = len(next(iter(movements.values()), np.zeros(1) if motion is None else motion))
    amounts = np.zeros((frames, len(EXPRESSIONS)))
    blendshapes = np.zeros((frames, len(BLENDSHAPES)), np.float32)
    for name, values in movements.items():
        amounts[:, EXPRESSIONS.index(name)] = values
        for coefficient in MEASURED[name]:
            blendshapes[:, BLENDSHAPES.index(coefficient)] = values
    motion = np.zeros((frames, 6)) if motion is None else motion
    turn = motion * (1, 1, 1, 0, 0, 0)
    pose_matrix = rigid_matrix(np.array([place], dtype=float)) @ rigid_matrix(turn)
    pose_matrix[:, :2, 3] += size * motion[:, 3:5]
    pose_matrix[:, 2, 3] *= 1.0 - motion[:, 5]
    meshes = size * rig.moved(rig.neutral(traits or {}), amounts)
    landmarks, vertices, pose_matrix = track_geometry(
        meshes, np.zeros((frames, 10, 3)), pose_matrix, rig.face
    )
    return FaceTrack(landmarks, vertices, pose_matrix.astype(np.float32), blendshapes, np.ones(frames, bool))


def still_portrait(rig: FaceRig, traits: dict[str, float] | None = None, **place) -> Picture:
    """A picture of a face at rest; the picture itself is black."""
    track = filmed_head(rig, traits=traits, **place)
    return Picture(np.zeros((8, 8, 3), np.uint8), track, SquareCrop(0, 0, 8, 8))
