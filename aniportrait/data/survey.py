"""The first look at a film: where it is cut into scenes, and which faces are where."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np

from aniportrait.data.constant_rate import MediaReport
from aniportrait.data.face_search import Box, faces_of, is_inside
from aniportrait.data.film import Film
from aniportrait.data.sources import SourceClip
from aniportrait.face.detector import DetectedFace, MissingLibraryError
from aniportrait.face.landmarks import FaceLandmarker

GLANCES_PER_SECOND = 3.0
"""Frames in which faces are looked for."""
CUT_SIZE = 160
"""Longer side, in pixels, of the frames in which cuts are looked for."""
SHORTEST_SCENE = 0.6
"""Seconds; what is between cuts that follow each other faster is a flash, or the rest of another shot."""
SAME_PERSON = 0.1
"""Overlap (intersection over union) of two boxes, each grown by half, that makes them one person's."""


@dataclass(frozen=True)
class Glance:
    """The faces of one frame; `thumbnail` is a small JPEG of it."""

    frame: int
    faces: list[DetectedFace]
    thumbnail: bytes


@dataclass(frozen=True)
class Survey:
    """What a first look at a film found.

    Args:
        frames: at the rate `fps`.
        fps: frames a second.
        cuts: frames with which a new scene begins.
        width, height: of the film in pixels.
        size: width and height of the pictures in which the faces were found.
        box: where the source says that the face is, in these pictures.
        glances: in order.
    """

    frames: int
    fps: float
    cuts: tuple[int, ...]
    width: int
    height: int
    size: tuple[int, int]
    box: Box | None
    glances: tuple[Glance, ...]

    def scenes(self) -> list[tuple[int, int]]:
        """(first frame, first frame after it) of each, those that are too short left out unless all are."""
        edges = [0, *self.cuts, self.frames]
        scenes = [(first, last) for first, last in pairwise(edges) if last > first]
        long = [(first, last) for first, last in scenes if last - first >= SHORTEST_SCENE * self.fps]
        return long or scenes

    def within(self, first: int, last: int) -> list[Glance]:
        return [glance for glance in self.glances if first <= glance.frame < last]


@dataclass(frozen=True)
class Person:
    """One person through a number of glances.

    Args:
        seen: (number of the glance, face), in order.
        others: height of the largest other face in parts of this one, for each glance that shows another.
    """

    seen: list[tuple[int, DetectedFace]]
    others: list[float]


def survey(
    film: Film, clip: SourceClip, landmarker: FaceLandmarker, fps: float, cut_threshold: float
) -> Survey:
    """Look at every frame for cuts, and at a few of them for faces.

    Args:
        film: what the clip is a section of.
        landmarker: finds the faces.
        fps: see `Film.stills`.
        cut_threshold: mean change of hue, saturation and brightness from one frame to the next (0 to 255) that
            makes a cut. PySceneDetect's ContentDetector.
    """
    find_cuts = _cut_finder(fps, cut_threshold)
    stride = max(1, round(fps / GLANCES_PER_SECOND))
    cuts: list[int] = []
    glances: list[Glance] = []
    size, frames = (film.info.width, film.info.height), 0
    end = math.inf if clip.end is None else clip.end
    for frame, still in enumerate(film.stills(fps, MediaReport(), clip.begin, end)):
        small = cv2.cvtColor(still.pixels(CUT_SIZE), cv2.COLOR_RGB2BGR)
        cuts += find_cuts(frame, small)
        if frame % stride == 0:
            faces, size = faces_of(still, landmarker, clip.box)
            glances.append(Glance(frame, faces, _jpeg(small)))
        frames = frame + 1
    box = None if clip.box is None else clip.box.in_picture(*size)
    return Survey(frames, fps, tuple(cuts), film.info.width, film.info.height, size, box, tuple(glances))


def _cut_finder(fps: float, threshold: float) -> Callable[[int, np.ndarray], list[int]]:
    """Takes frames in order, (h, w, 3) BGR, and returns those with which a scene is now known to begin."""
    scenedetect = _scenedetect()
    # Its own least length (min_scene_len) would pass over a cut soon after the beginning or after another.
    detector = scenedetect.ContentDetector(threshold=threshold, min_scene_len=0)

    def cuts(frame: int, picture: np.ndarray) -> list[int]:
        found = detector.process_frame(scenedetect.FrameTimecode(frame, fps), picture)
        return [cut.frame_num for cut in found]

    return cuts


def _scenedetect() -> Any:
    """Not a requirement that pip can be told of: it would put opencv-python over MediaPipe's own OpenCV."""
    try:
        import scenedetect
    except ModuleNotFoundError as error:
        raise MissingLibraryError(
            "preparation looks for cuts with PySceneDetect, which is not installed: "
            "pip install --no-deps scenedetect==0.7.2 (make install does)"
        ) from error
    return scenedetect


def leading_person(glances: Sequence[Glance], box: Box | None) -> Person | None:
    """The person whose face is largest, summed over the glances; None where there is no face.

    Args:
        glances: of one scene.
        box: x0, y0, x1, y1 in pixels of the glances; faces whose centre lies outside are others'.
    """
    people: list[list[tuple[int, DetectedFace]]] = []
    for number, glance in enumerate(glances):
        taken: set[int] = set()
        for face in glance.faces:  # largest first
            overlaps = [(_overlap(face, person[-1][1]), -index) for index, person in enumerate(people)]
            best = max((pair for pair in overlaps if -pair[1] not in taken), default=(0.0, 0))
            if best[0] >= SAME_PERSON:
                index = -best[1]
                people[index].append((number, face))
            else:
                index = len(people)
                people.append([(number, face)])
            taken.add(index)
    if box is not None:
        wanted = [person for person in people if np.mean([is_inside(face, box) for _, face in person]) >= 0.5]
    else:
        wanted = people
    if not wanted:
        return None
    leader = max(wanted, key=lambda person: sum(face.area for _, face in person))
    return Person(leader, list(_others(glances, leader)))


def _others(glances: Sequence[Glance], leader: list[tuple[int, DetectedFace]]) -> Iterator[float]:
    for number, own in leader:
        heights = [_height(face) for face in glances[number].faces if face is not own]
        if heights:
            yield max(heights) / max(_height(own), 1e-6)


def _height(face: DetectedFace) -> float:
    return face.box[3] - face.box[1]


def _overlap(first: DetectedFace, second: DetectedFace) -> float:
    a, b = (_grown(face.box) for face in (first, second))
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    common = width * height
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def _grown(box: Box) -> Box:
    x, y = 0.25 * (box[2] - box[0]), 0.25 * (box[3] - box[1])
    return box[0] - x, box[1] - y, box[2] + x, box[3] + y


def _jpeg(picture: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, 80))[1].tobytes()
