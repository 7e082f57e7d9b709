"""The face of a picture: found, cropped around and measured, or refused in one sentence."""

from dataclasses import dataclass

import numpy as np

from aniportrait.data.face_search import LOOK, faces_of, shrunk
from aniportrait.face.crop import SquareCrop, face_crop
from aniportrait.face.detector import DetectedFace
from aniportrait.face.landmarks import FaceLandmarker, NoFaceError
from aniportrait.face.track import FaceTrack

MEASURE_SIZE = 512
"""Side of the square that the landmarker sees, pixels."""
LARGEST_SQUARE = 1024
"""Side to which a portrait's own pixels are kept."""
SMALLEST_FACE = 32
"""Longer side of the landmarks' box, pixels. On 19 portraits shrunk to it and saved as JPEG of quality 50, one in ten
has landmarks that are off by 3 % of the face on average; at 24 pixels it is 8 %, and some are not found."""
FURTHEST_TURN = 50
"""Degrees between the face's direction and the camera, as measured. The mesh of filmed faces changes by 3 % of the face
from frontal to there, 4 % at 60. 17 portraits on their meshes, turned by 60 degrees, measure 51 and 3.6 % off."""
FURTHEST_ROLL = 60
"""Degrees. A face on its side is measured well, but one in three of those at 120 to 150 is taken for upright."""
SAME_ROLL = 30.0
"""Degrees by which two measurements of one face's roll differ at most."""


@dataclass(frozen=True)
class Picture:
    """A face, ready to be animated.

    Args:
        image: (n, n, 3) uint8 RGB square around the face.
        track: the face in it, one frame.
        crop: the square in the original picture.
    """

    image: np.ndarray
    track: FaceTrack
    crop: SquareCrop


def prepare_picture(
    image: np.ndarray, landmarker: FaceLandmarker, what: str, face: int | None = None
) -> Picture:
    """Find a face, crop the square around it as preparation does, measure it there.

    Args:
        image: (h, w, 3) uint8 RGB of any size.
        landmarker: finds the faces.
        what: the picture's name in messages.
        face: which one, counted from 1 by size: 1, the largest, is taken when left out.

    Raises:
        NoFaceError: there is none, or none that can be animated.
    """
    height, width = image.shape[:2]
    landmarks = _found(image, landmarker, what, 1 if face is None else face).landmarks
    pixels = round(float(np.ptp(landmarks[:, :2] * (width, height), axis=0).max()))
    if pixels < SMALLEST_FACE:
        raise NoFaceError(
            f"{what}: the face is {pixels} pixels large, at least {SMALLEST_FACE} are needed: "
            "give a picture with more pixels or from nearer"
        )
    crop = face_crop(landmarks, width, height)
    square = crop.cut(image, MEASURE_SIZE)
    inside = crop.to_crop(landmarks, width, height)[:, :2] * MEASURE_SIZE
    x0, y0, x1, y1 = (*inside.min(axis=0).tolist(), *inside.max(axis=0).tolist())
    track = landmarker.detect(square, about=(x0, y0, x1, y1))
    _check_sideways(square, landmarker, what)
    if not track.valid[0]:
        raise NoFaceError(
            f"{what}: the face cannot be measured: give a picture where it is sharp, whole and turned to the camera"
        )
    _check_pose(track.pose_matrix[0], what)
    side = min(max(crop.side, MEASURE_SIZE), LARGEST_SQUARE)
    return Picture(square if side == MEASURE_SIZE else crop.cut(image, side), track, crop)


@dataclass(frozen=True)
class _Still:
    """A picture as the face search takes it."""

    image: np.ndarray

    def pixels(self, longest_side: int | None = None) -> np.ndarray:
        return self.image if longest_side is None else shrunk(self.image, longest_side)


def _found(image: np.ndarray, landmarker: FaceLandmarker, what: str, face: int) -> DetectedFace:
    if face < 1:
        raise ValueError(f"face ({face}) must be at least 1, which is the largest of the picture")
    faces, _ = faces_of(_Still(image), landmarker, at_least=face)
    if not faces:
        _check_sideways(shrunk(image, LOOK), landmarker, what)
        raise NoFaceError(
            f"{what} shows no face that can be found: give a picture of one face, upright and turned to the camera"
        )
    if face > len(faces):
        shown = "1 face" if len(faces) == 1 else f"{len(faces)} faces (1 is the largest)"
        raise NoFaceError(f"face={face}, but {what} shows {shown}")
    return faces[face - 1]


def _check_sideways(image: np.ndarray, landmarker: FaceLandmarker, what: str) -> None:
    """A face on its head is often found as something upright; from either side it is seen as it is.

    Of an upright one, too, but then a copy can show anything: only what both say is believed.
    """
    copies = [np.ascontiguousarray(np.rot90(image, turns)) for turns in (1, 3)]  # counterclockwise
    tracks = [landmarker.detect(copy) for copy in copies]
    if all(track.valid[0] for track in tracks):
        left, right = (_roll(track.pose_matrix[0]) for track in tracks)
        if abs(_within_half_turn(left + 90 - (right - 90))) <= SAME_ROLL:
            _check_roll(_within_half_turn(left + 90), what)


def _within_half_turn(degrees: float) -> float:
    return (degrees + 180) % 360 - 180


def _roll(pose_matrix: np.ndarray) -> float:
    """Degrees clockwise of the face's upward axis in the picture."""
    return float(np.degrees(np.arctan2(pose_matrix[0, 1], pose_matrix[1, 1])))


def _check_roll(roll: float, what: str) -> None:
    degrees = round(abs(roll))
    if degrees > FURTHEST_ROLL:
        raise NoFaceError(
            f"{what}: the face is rotated by {degrees} degrees in the picture, at most {FURTHEST_ROLL} are "
            "possible: turn the picture upright"
        )


def _check_pose(pose_matrix: np.ndarray, what: str) -> None:
    _check_roll(_roll(pose_matrix), what)
    forward = pose_matrix[:3, 2] / np.linalg.norm(pose_matrix[:3, 2])
    degrees = round(float(np.degrees(np.arccos(np.clip(forward[2], -1, 1)))))
    if degrees > FURTHEST_TURN:
        raise NoFaceError(
            f"{what}: the face is turned away by {degrees} degrees, at most {FURTHEST_TURN} are possible: "
            "give a picture that shows both sides of it"
        )
