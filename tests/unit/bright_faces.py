"""Films whose faces are bright squares, and a landmarker that finds bright squares: it says exactly where they are."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from aniportrait.data import preprocess, workers
from aniportrait.data.clip_preparation import PreparationSettings
from aniportrait.data.folder import FolderSource
from aniportrait.data.gates import Gates
from aniportrait.data.media import write_video
from aniportrait.data.preprocess import Preparation
from aniportrait.data.shards import ShardIndex, read_sample
from aniportrait.data.sources import SourceClip, with_splits
from aniportrait.face.detector import DetectedFace
from aniportrait.face.landmarks import NoFaceError
from aniportrait.face.track import FaceTrack

GATES = tuple(Gates.__dataclass_fields__)


class BrightSquareLandmarker:
    """Finds the boxes of all connected pixels above 128; landmarks lie on a box's diagonal."""

    def __init__(self, *_):
        self.closed = False

    def close(self):
        self.closed = True

    def detections(self, image):
        return [detected(box, image.shape[1], image.shape[0]) for box in bright_boxes(image)]

    def track(self, frames, fps, start=None):
        found = []
        for frame in frames:
            faces = self.detections(frame)
            if start is not None and faces:
                middle = np.array(((start[0] + start[2]) / 2, (start[1] + start[3]) / 2))
                faces = sorted(faces, key=lambda face: float(np.linalg.norm(face.centre - middle)))
            found.append(faces[0] if faces else None)
        valid = np.array([face is not None for face in found])
        if not valid.any():
            raise NoFaceError("no bright square")
        empty = np.zeros((478, 3), np.float32)
        return FaceTrack(
            np.stack([empty if face is None else face.landmarks for face in found]),
            np.zeros((len(found), 468, 3), np.float32),
            np.tile(np.eye(4, dtype=np.float32), (len(found), 1, 1)),
            np.zeros((len(found), 52), np.float32),
            valid,
        )


def detected(box, width, height):
    along = np.linspace(0, 1, 478, dtype=np.float32)[:, None]
    low, high = np.float32(box[:2]) / (width, height), np.float32(box[2:]) / (width, height)
    points = np.concatenate((low + along * (high - low), np.zeros((478, 1))), axis=1).astype(np.float32)
    return DetectedFace(points, np.zeros(52, np.float32), tuple(float(value) for value in box))


def bright_boxes(frame):
    """x0, y0, x1, y1 in pixels, largest first."""
    bright = (frame.mean(axis=2) > 128).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(bright)
    found = [(x, y, x + w, y + h) for x, y, w, h, area in stats[1:] if area > 20]
    return sorted(found, key=lambda box: -(box[2] - box[0]) * (box[3] - box[1]))


def bright_box(frame):
    """The largest, in shares of the picture."""
    height, width = frame.shape[:2]
    x0, y0, x1, y1 = bright_boxes(frame)[0]
    return x0 / width, y0 / height, x1 / width, y1 / height


def face(width=160, height=120, x=40, y=30, side=70, background=20):
    """A square with the texture of a chequered board, so that it is sharp."""
    picture = np.full((height, width, 3), background, np.uint8)
    rows, columns = np.mgrid[0:side, 0:side] // 5
    picture[y : y + side, x : x + side] = np.where((rows + columns) % 2, 180, 250)[..., None]
    return picture


def dark(width=160, height=120):
    return np.full((height, width, 3), 20, np.uint8)


def tone(seconds):
    return (0.3 * np.sin(np.arange(round(16_000 * seconds)) * 0.2)).astype(np.float32)


@pytest.fixture
def bright_faces(monkeypatch):
    monkeypatch.setattr(workers, "_landmarker", lambda task_file: BrightSquareLandmarker())
    monkeypatch.setattr(preprocess, "find_task_file", lambda path: Path("unused.task"))
    monkeypatch.setattr(preprocess, "sha256_of", lambda path: "of no file")


def preparation(source, out: Path, clips_per_shard=2, **options) -> Preparation:
    """Of a source, or of a folder's files; options are settings and gates."""
    gates = Gates(**{name: options.pop(name) for name in GATES if name in options})
    options = {"image_size": 64, "cut_threshold": 200.0} | options  # no cut where a square comes or goes
    settings = PreparationSettings(gates=gates, **options)
    source = FolderSource(source) if isinstance(source, Path) else source
    return Preparation(source, out, settings, clips_per_shard)


def prepared(source, out: Path, **options):
    return preparation(source, out, **options).run(workers=0)


def mixed_folder(folder: Path) -> Path:
    """Clips of every kind that may come."""
    folder.mkdir()
    write_video(folder / "a good (1).mp4", [face()] * 30, 25.0, tone(1.2))
    write_video(folder / "b odd size.mp4", [face(width=161, height=121)] * 48, 30.0)
    write_video(folder / "c silent.mp4", [face()] * 25, 25.0, np.zeros(16_000, np.float32))
    write_video(folder / "d no face.mp4", [dark()] * 25, 25.0, tone(1))
    write_video(folder / "e one frame.mp4", [face()], 25.0)
    write_video(folder / "f small.mp4", [face(side=20)] * 25, 25.0)
    write_video(folder / "g half.mp4", [face()] * 12 + [dark()] * 13, 25.0)
    write_video(folder / "h blinks.mp4", [dark() if k in (5, 6) else face() for k in range(30)], 25.0)
    noise = np.random.default_rng(0).integers(0, 40, (50, 120, 160, 3), dtype=np.uint8)
    write_video(folder / "i cut.mp4", np.maximum(noise, face()), 25.0)
    cut = folder / "i cut.mp4"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 2 // 3])
    (folder / "j text.mp4").write_text("not a video\n" * 50)
    (folder / "k empty.mp4").touch()
    return folder


class OneFilm:
    """A source of one film, or of sections of it."""

    def __init__(self, folder: Path, frames, audio=None, fps=25.0, sections=((0.0, None),)):
        self.path, self.sections = folder / "film.mp4", sections
        write_video(self.path, frames, fps, audio)

    def clips(self):
        return with_splits(
            [
                SourceClip(self.path, "p", None, f"film-{begin:g}", None, begin, end)
                for begin, end in self.sections
            ]
        )


def samples(folder):
    return [read_sample(folder, entry) for entry in ShardIndex.load(folder).samples]
