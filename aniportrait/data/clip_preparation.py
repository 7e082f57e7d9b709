"""One video file -> one prepared clip: a square about the face, the face in every frame, the sound; or why
not."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from aniportrait.data.clip_codec import ClipEncoder
from aniportrait.data.media import MediaReport, VideoInfo, probe, read_video
from aniportrait.data.neutral import neutral_mesh
from aniportrait.data.schema import SAMPLE_RATE, ClipMeta, ClipSample
from aniportrait.data.sound import MediaError, NoAudioError, read_audio
from aniportrait.face.crop import SquareCrop, face_crop
from aniportrait.face.landmarks import FaceLandmarker, NoFaceError
from aniportrait.face.track import FaceTrack

GLANCES_PER_SECOND = 3.0
"""Frames looked at in the first pass, which only asks where the face is."""
GLANCE_SIZE = 640
"""Longer side, in pixels, of the pictures of the first pass."""
LEAST_MARGIN = 0.1
"""Margin below which a square leaves the picture rather than cut into the face."""
SILENCE = 1e-3
"""Largest sample of a sound track that is taken for none."""
LONGEST_SILENT_END = 0.5
"""Seconds the sound may end before the picture without a word about it."""


class DroppedClipError(ValueError):
    """A clip that a gate keeps out; the message is the reason, with figures."""


@dataclass(frozen=True)
class PreparationSettings:
    """What is made of a clip, and what a clip must offer.

    Args:
        image_size: side of the stored square, pixels, even.
        fps: frames per second of the stored clip.
        margin: around the box of the face, in parts of its longer side.
        min_seconds: shorter clips are dropped.
        min_detection_rate: share of the frames in which the face must be found.
        min_face_height: chin to forehead in the source, pixels, median over the clip.
    """

    image_size: int = 256
    fps: float = 25.0
    margin: float = 0.4
    min_seconds: float = 0.5
    min_detection_rate: float = 0.8
    min_face_height: float = 64.0

    def __post_init__(self) -> None:
        if self.image_size < 32 or self.image_size % 2:
            raise ValueError(f"image_size ({self.image_size}) must be even and at least 32")
        if not 1 <= self.fps <= 240:
            raise ValueError(f"fps ({self.fps}) must be 1 to 240")
        if not 0 < self.min_detection_rate <= 1:
            raise ValueError(f"min_detection_rate ({self.min_detection_rate}) must be above 0 and at most 1")
        if min(self.margin, self.min_seconds, self.min_face_height) < 0:
            raise ValueError(
                f"margin ({self.margin}), min_seconds ({self.min_seconds}) and min_face_height "
                f"({self.min_face_height}) must not be negative"
            )


@dataclass(frozen=True)
class PreparedClip:
    """A clip that passed the gates.

    Args:
        sample: its key, identity and split are those of the file and may be replaced.
        notes: what had to be mended.
    """

    sample: ClipSample
    notes: tuple[str, ...] = ()

    def named(self, key: str, identity: str, split: str) -> ClipSample:
        meta = replace(self.sample.meta, key=key, identity=identity, split=split)
        return replace(self.sample, meta=meta)


def prepare_clip(path: Path, settings: PreparationSettings, landmarker: FaceLandmarker) -> PreparedClip:
    """Cut the face out of a video and measure it in every frame.

    Raises:
        DroppedClipError: the clip is readable and not good enough.
        MediaError: it is not readable.
    """
    info = probe(path)
    crop = _look_for_the_face(path, info, settings, landmarker)
    report = MediaReport()
    video, track = _follow_the_face(path, crop, settings, landmarker, report)
    frames, seconds = len(track), len(track) / settings.fps
    if seconds < settings.min_seconds:
        needed = f"at least {settings.min_seconds:g} s are needed"
        raise DroppedClipError(f"{frames} frame{'s' * (frames > 1)} ({seconds:.2f} s), {needed}")
    _check_detection(track.valid, settings.min_detection_rate, "frames")
    audio, notes = _sound(path, info, frames, settings.fps)
    if not report.whole:
        notes.append(f"damaged: {report}")
    if gaps := int((~track.valid).sum()):
        notes.append(f"face interpolated in {gaps} of {frames} frames")
    meta = ClipMeta(
        key=path.stem,
        identity=path.name,
        split="train",
        source=path.name,
        fps=settings.fps,
        frames=frames,
        width=settings.image_size,
        height=settings.image_size,
        has_audio=audio is not None,
        crop=(float(crop.x0), float(crop.y0), float(crop.x1), float(crop.y1)),
    )
    return PreparedClip(ClipSample(meta, video, audio, track, neutral_mesh(track)), tuple(notes))


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


def _look_for_the_face(
    path: Path, info: VideoInfo, settings: PreparationSettings, landmarker: FaceLandmarker
) -> SquareCrop:
    """First pass: a few small frames a second say where the face is through the clip."""
    scale = min(1.0, GLANCE_SIZE / max(info.width, info.height))
    size = max(1, round(info.width * scale)), max(1, round(info.height * scale))
    glances = (
        cv2.resize(frame, size, interpolation=cv2.INTER_AREA) if scale < 1 else frame
        for frame in read_video(path, GLANCES_PER_SECOND)
    )
    try:
        found = landmarker.track(glances, GLANCES_PER_SECOND)
    except NoFaceError as error:
        raise DroppedClipError("no face is seen in any of the frames looked at") from error
    _check_detection(found.valid, settings.min_detection_rate / 2, "frames looked at")
    landmarks = found.landmarks[found.valid]
    heights = (landmarks[..., 1].max(axis=1) - landmarks[..., 1].min(axis=1)) * info.height
    if (face_height := float(np.median(heights))) < settings.min_face_height:
        needed = f"at least {settings.min_face_height:g} are needed"
        raise DroppedClipError(f"the face is {face_height:.0f} pixels high (median), {needed}")
    return clip_crop(landmarks, info.width, info.height, settings.margin)


def _follow_the_face(
    path: Path,
    crop: SquareCrop,
    settings: PreparationSettings,
    landmarker: FaceLandmarker,
    report: MediaReport,
) -> tuple[bytes, FaceTrack]:
    """Second pass: cut, measure and encode every frame, holding one at a time."""
    with ClipEncoder(settings.fps) as encoder:

        def squares() -> Iterator[np.ndarray]:
            for frame in read_video(path, settings.fps, report):
                square = crop.cut(frame, settings.image_size)
                encoder.add(square)
                yield square

        try:
            track = landmarker.track(squares(), settings.fps)
        except NoFaceError as error:
            raise DroppedClipError("no face is found in the square cut out for it") from error
    return encoder.video, track


def _check_detection(valid: np.ndarray, least: float, of_what: str) -> None:
    if valid.mean() < least:
        found = f"one face is found in {100 * valid.mean():.0f} % of {len(valid)} {of_what}"
        raise DroppedClipError(f"{found}, at least {100 * least:.0f} % are needed")


def _sound(path: Path, info: VideoInfo, frames: int, fps: float) -> tuple[np.ndarray | None, list[str]]:
    """The waveform, exactly as long as the picture; None with a note where there is none to speak of."""
    length = round(frames / fps * SAMPLE_RATE)
    try:
        audio = read_audio(path, info.start)[:length]
    except NoAudioError:
        return None, []
    except MediaError as error:
        return None, [f"sound left out: {error}"]
    if not len(audio) or np.abs(audio).max() < SILENCE:
        return None, ["sound left out: it is silent"]
    notes = []
    if (lacking := length - len(audio)) > LONGEST_SILENT_END * SAMPLE_RATE:
        notes.append(f"sound continued with {lacking / SAMPLE_RATE:.1f} s of silence")
    return np.pad(audio, (0, lacking)), notes
