"""One film -> its prepared clips: a square about the face, the face in every frame, the sound; or why not."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import cv2
import numpy as np

from aniportrait.data.clip_codec import ClipEncoder, decode_frames
from aniportrait.data.clip_sound import clip_sound
from aniportrait.data.constant_rate import MediaReport
from aniportrait.data.face_search import Box
from aniportrait.data.film import Film, open_film
from aniportrait.data.gates import DroppedClipError, Gates
from aniportrait.data.media import Still, pictures
from aniportrait.data.neutral import neutral_mesh
from aniportrait.data.piece import Piece
from aniportrait.data.schema import ClipMeta, ClipSample
from aniportrait.data.sharpness import sharpness
from aniportrait.data.sound import MediaError
from aniportrait.data.sources import SourceClip
from aniportrait.data.survey import Glance, Person, Survey, leading_person, survey
from aniportrait.face.crop import SquareCrop, face_crop
from aniportrait.face.head_pose import euler_from_matrix
from aniportrait.face.landmarks import FaceLandmarker, NoFaceError
from aniportrait.face.track import FaceTrack

LEAST_MARGIN = 0.1
"""Margin below which a square leaves the picture rather than cut into the face."""
SHARPNESS_PER_SECOND = 2.0
"""Frames of which the sharpness is measured."""


@dataclass(frozen=True)
class PreparationSettings:
    """What is made of a clip.

    Args:
        image_size: side of the stored square, pixels, even.
        fps: frames per second of the stored clip.
        margin: around the box of the face, in parts of its longer side.
        scenes: of a clip with cuts, keep the "longest" scene with a face, or "all", each as a clip of its own.
        cut_threshold: see `survey`.
        longest_seconds: longer scenes become several clips of equal length.
        gates: what a clip must offer.
    """

    image_size: int = 256
    fps: float = 25.0
    margin: float = 0.4
    scenes: Literal["longest", "all"] = "longest"
    cut_threshold: float = 27.0
    longest_seconds: float = 60.0
    gates: Gates = field(default_factory=Gates)

    def __post_init__(self) -> None:
        if self.image_size < 32 or self.image_size % 2:
            raise ValueError(f"image_size ({self.image_size}) must be even and at least 32")
        if not 1 <= self.fps <= 240:
            raise ValueError(f"fps ({self.fps}) must be 1 to 240")
        if self.margin < 0:
            raise ValueError(f"margin ({self.margin}) must not be negative")
        if self.scenes not in ("longest", "all"):
            raise ValueError(f'scenes ("{self.scenes}") must be "longest" or "all"')
        if self.cut_threshold <= 0:
            raise ValueError(f"cut_threshold ({self.cut_threshold}) must be positive")
        if self.longest_seconds < max(1.0, self.gates.min_seconds):
            raise ValueError(
                f"longest_seconds ({self.longest_seconds}) must be at least 1 and at least gates.min_seconds "
                f"({self.gates.min_seconds})"
            )


def prepare_clip(clip: SourceClip, settings: PreparationSettings, landmarker: FaceLandmarker) -> list[Piece]:
    """Cut the face out of a film and measure it in every frame; one piece for each stretch, kept or dropped.

    Raises:
        MediaError: the film is not readable.
    """
    if not clip.path.exists():
        return [Piece(reason=f"{clip.path} does not exist")]
    film = open_film(clip.path, clip.frame_rate)
    first_look = survey(film, clip, landmarker, settings.fps, settings.cut_threshold)
    if not first_look.frames:
        return [Piece(reason=f"the section from {clip.begin:g} s on lies beyond the end of the film")]
    stretches, notes = _stretches(first_look, settings)
    pieces = []
    for first, last in stretches:
        piece = Piece(first / settings.fps, (last - first) / settings.fps, notes=list(notes))
        piece.figures |= {"source_fps": round(film.info.fps, 3), "seconds": round(piece.seconds, 2)}
        try:
            _prepare_piece(piece, film, clip, settings, landmarker, first_look, (first, last))
        except (DroppedClipError, MediaError) as error:
            piece.reason, piece.sample = str(error), None
        pieces.append(piece)
    return pieces


def clip_crop(landmarks: np.ndarray, width: int, height: int, margin: float) -> SquareCrop:
    """One square for a whole clip: about the face in all frames, and inside of the picture where that is
    possible.

    The square shrinks to the picture as long as LEAST_MARGIN remains around the face, so that few clips show
    the repeated pixels that lie beyond the border.

    Args:
        landmarks: (f, n, 2 or 3), normalised to the picture.
        width, height: of the picture, pixels.
        margin: see face_crop.
    """
    wide = face_crop(landmarks, width, height, margin)
    tight = face_crop(landmarks, width, height, min(margin, LEAST_MARGIN))
    side = min(wide.side, max(tight.side, min(width, height)))
    x0 = _inside((wide.x0 + wide.x1 - side) // 2, side, width)
    y0 = _inside((wide.y0 + wide.y1 - side) // 2, side, height)
    return SquareCrop(x0, y0, x0 + side, y0 + side)


def _inside(begin: int, side: int, length: int) -> int:
    return min(max(begin, 0), length - side) if side <= length else begin


def _stretches(first_look: Survey, settings: PreparationSettings) -> tuple[list[tuple[int, int]], list[str]]:
    """The frames of each clip that a film is made into, and what is to be said of its cuts."""
    scenes, notes = first_look.scenes(), []
    if cuts := first_look.cuts:
        listed = ", ".join(f"{cut / settings.fps:.2f}" for cut in cuts)
        notes.append(f"cut into {len(cuts) + 1} scenes (at {listed} s)")
        if settings.scenes == "longest":
            kept = _longest(first_look, scenes, settings.gates.min_detection_rate / 2)
            notes[-1] += f", kept {kept[0] / settings.fps:.2f} to {kept[1] / settings.fps:.2f} s"
            scenes = [kept]
    stretches = []
    for first, last in scenes:
        parts = max(1, math.ceil((last - first) / settings.fps / settings.longest_seconds - 1e-9))
        edges = [first + round(part * (last - first) / parts) for part in range(parts + 1)]
        stretches += list(pairwise(edges))
    return stretches, notes


def _longest(first_look: Survey, scenes: list[tuple[int, int]], least: float) -> tuple[int, int]:
    """The longest scene that shows somebody, or the longest of all."""

    def shows_somebody(scene: tuple[int, int]) -> bool:
        glances = first_look.within(*scene)
        person = leading_person(glances, first_look.box)
        return person is not None and len(person.seen) >= least * len(glances)

    return max(scenes, key=lambda scene: (shows_somebody(scene), scene[1] - scene[0], -scene[0]))


def _prepare_piece(
    piece: Piece,
    film: Film,
    clip: SourceClip,
    settings: PreparationSettings,
    landmarker: FaceLandmarker,
    first_look: Survey,
    stretch: tuple[int, int],
) -> None:
    gates, fps = settings.gates, settings.fps
    glances = first_look.within(*stretch)
    if glances:
        piece.thumbnail = glances[len(glances) // 2].thumbnail
    gates.check_length(stretch[1] - stretch[0], fps)
    person = _person(piece, gates, first_look, glances)
    landmarks = np.stack([face.landmarks for _, face in person.seen])
    crop = clip_crop(landmarks, first_look.width, first_look.height, settings.margin)
    start = _in_square(person.seen[0][1].box, first_look, crop, settings.image_size)
    begin = clip.begin + stretch[0] / fps
    report = MediaReport()
    frames = film.stills(fps, report, begin, begin + (stretch[1] - stretch[0]) / fps)
    followed = _follow_the_face(frames, crop, start, settings, landmarker)
    track, piece.thumbnail = followed.track, followed.thumbnail
    gates.check_length(len(track), fps)
    _check_track(piece, track, gates, fps)
    piece.figures["sharpness"] = round(followed.sharpness, 4)
    gates.check_sharpness(piece.figures["sharpness"])
    audio = clip_sound(piece, film, begin, track, fps, gates)
    if not report.whole:
        piece.notes.append(f"damaged: {report}")
    if gaps := int((~track.valid).sum()):
        piece.notes.append(f"face interpolated in {gaps} of {len(track)} frames")
    meta = _meta(clip, settings, len(track), crop, begin, audio is not None)
    piece.seconds = len(track) / fps
    piece.sample = ClipSample(meta, followed.video, audio, track, neutral_mesh(track))


def _meta(
    clip: SourceClip, settings: PreparationSettings, frames: int, crop: SquareCrop, begin: float, sounds: bool
) -> ClipMeta:
    return ClipMeta(
        key=clip.title,
        identity=clip.identity,
        split=clip.split or "train",
        source=clip.recording,
        fps=settings.fps,
        frames=frames,
        width=settings.image_size,
        height=settings.image_size,
        has_audio=sounds,
        crop=(float(crop.x0), float(crop.y0), float(crop.x1), float(crop.y1)),
        begin=round(begin, 4),
    )


def _person(piece: Piece, gates: Gates, first_look: Survey, glances: list[Glance]) -> Person:
    """The one to follow, if the glances promise that it can be done."""
    person = leading_person(glances, first_look.box)
    if person is None and first_look.box is not None and any(glance.faces for glance in glances):
        raise DroppedClipError("no face is seen inside of the box that the source gives")
    if person is None:
        raise DroppedClipError("no face is seen in any of the frames looked at")
    gates.check_glances(len(person.seen), len(glances))
    heights = [face.box[3] - face.box[1] for _, face in person.seen]
    piece.figures["face_height"] = round(
        float(np.median(heights)) * first_look.height / first_look.size[1], 1
    )
    gates.check_face_height(piece.figures["face_height"])
    if person.others:
        piece.figures["other_face"] = round(float(np.median(person.others)), 3)
        gates.check_other_face(person.others, len(glances))
    return person


def _in_square(box: Box, first_look: Survey, crop: SquareCrop, size: int) -> Box:
    """A box in pixels of the glances -> in pixels of the stored square."""
    scale = first_look.width / first_look.size[0]
    x0, y0, x1, y1 = (
        (scale * value - origin) * size / crop.side
        for value, origin in zip(box, (crop.x0, crop.y0) * 2, strict=True)
    )
    return x0, y0, x1, y1


@dataclass(frozen=True)
class _Followed:
    video: bytes
    track: FaceTrack
    sharpness: float
    thumbnail: bytes


def _follow_the_face(
    frames: Iterator[Still],
    crop: SquareCrop,
    start: Box,
    settings: PreparationSettings,
    landmarker: FaceLandmarker,
) -> _Followed:
    """Second pass: cut, measure and encode every frame, holding one at a time (and two a second longer)."""
    stride = max(1, round(settings.fps / SHARPNESS_PER_SECOND))
    kept: dict[int, np.ndarray] = {}
    with ClipEncoder(settings.fps) as encoder:

        def squares() -> Iterator[np.ndarray]:
            cut = pictures(frames, lambda still: crop.cut(still.pixels(), settings.image_size))
            for index, square in enumerate(cut):
                if index % stride == 0:
                    kept[index] = square
                encoder.add(square)
                yield square

        try:
            track = landmarker.track(squares(), settings.fps, start)
        except NoFaceError as error:
            raise DroppedClipError("no face is found in the square cut out for it") from error
    middle = kept[stride * ((len(track) - 1) // 2 // stride)]
    seen = {index: square for index, square in kept.items() if track.valid[index]}
    if not seen:  # the face was away whenever it was to be measured
        instead = np.flatnonzero(track.valid)[::stride].tolist()
        seen = dict(zip(instead, decode_frames(encoder.video, instead), strict=True))
    sharp = float(np.median([sharpness(square, track.landmarks[index]) for index, square in seen.items()]))
    return _Followed(encoder.video, track, sharp, _thumbnail(middle))


def _thumbnail(square: np.ndarray) -> bytes:
    small = cv2.resize(square, (128, 128), interpolation=cv2.INTER_AREA)
    quality = (cv2.IMWRITE_JPEG_QUALITY, 85)
    return cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), quality)[1].tobytes()


def _check_track(piece: Piece, track: FaceTrack, gates: Gates, fps: float) -> None:
    piece.figures["detection_rate"] = round(float(track.valid.mean()), 4)
    gates.check_detection(track.valid, fps)
    angles = euler_from_matrix(track.pose_matrix[track.valid, :3, :3])
    for name, values in zip(("pitch", "yaw", "roll"), np.median(angles, axis=0), strict=True):
        piece.figures[name] = round(float(values), 1)
    piece.figures["widest_yaw"] = round(float(np.percentile(np.abs(angles[:, 1]), 95)), 1)
    gates.check_yaw(piece.figures["widest_yaw"])
