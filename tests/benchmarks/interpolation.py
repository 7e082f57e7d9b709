"""How near interpolated frames come to the true ones, and what they cost.

    python tests/benchmarks/interpolation.py [--clips DIR] [--count 8] [--frames 51] [--size 256] [--stride 2]

Of drawn talkers, or of the films of DIR in the order of a hash of their names, cut out as preparation does, every
--stride-th frame is given, with the landmarks of all. Prints for each way to make the others: mean absolute difference
in [0, 1] in the whole picture, in the face's box and in the mouth's; in the mouth of the tenth of frames whose lips are
farthest from the straight way between the given ones ("bent"); detail in the face's box (mean absolute Laplacian)
divided by the true frame's; CPU milliseconds a frame. Means over clips. Then what ours costs at other sizes, and the
calibration of this run. One thread.
"""

import argparse
import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import cv2
import numpy as np
import torch
from calibration import calibrate

from aniportrait.data.clip_codec import decode_frames
from aniportrait.data.clip_preparation import clip_crop
from aniportrait.data.folder import FolderSource
from aniportrait.data.media import read_video
from aniportrait.data.synthetic import SyntheticTalkers
from aniportrait.evaluation.face_l1 import inside
from aniportrait.evaluation.face_regions import face_boxes, mouth_boxes
from aniportrait.face.landmarks import FaceLandmarker, NoFaceError
from aniportrait.face.topology import INNER_LIPS
from aniportrait.pipelines.interpolation import interpolated, keyframe_indices

FPS = 25.0
MARGIN = 0.4
SIZES = (64, 128, 256, 512)


@dataclass(frozen=True)
class Clip:
    """Frames (f, h, w, 3) uint8 and their landmarks (f, 468 or more, 2) in [0, 1]; every `stride`-th is given."""

    name: str
    frames: np.ndarray
    points: np.ndarray
    stride: int

    @property
    def given(self) -> np.ndarray:
        return keyframe_indices(len(self.frames), self.stride)

    @property
    def wanted(self) -> np.ndarray:
        return np.setdiff1d(np.arange(len(self.frames)), self.given)

    def neighbours(self) -> Iterator[tuple[int, int, float]]:
        """Of each wanted frame: the given ones before and after it, and its time between them."""
        for index in self.wanted:
            place = int(np.searchsorted(self.given, index))
            before, after = int(self.given[place - 1]), int(self.given[place])
            yield before, after, float(index - before) / (after - before)


def main() -> None:
    parser = argparse.ArgumentParser(description="Error and cost of frames between sampled ones.")
    parser.add_argument("--clips", help="folder of videos; drawn talkers when left out")
    parser.add_argument("--count", type=int, default=8, help="clips")
    parser.add_argument("--frames", type=int, default=51, help="of each clip")
    parser.add_argument("--size", type=int, default=256, help="side of the square, pixels")
    parser.add_argument("--stride", type=int, default=2)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    found = filmed if options.clips else drawn
    clips = list(islice(found(options), options.count))
    print("clips:", ", ".join(clip.name for clip in clips))
    print(
        f"{sum(len(clip.wanted) for clip in clips)} frames to make of {options.size}x{options.size}, stride "
        f"{options.stride}\n{'':16s}   whole    face   mouth    bent  detail      ms"
    )
    for name, way in WAYS.items():
        print(f"{name:16s}" + "".join(f"{figure:8.{digits}f}" for figure, digits in tried(way, clips)))
    print("ours at", ", ".join(f"{size}: {cost(clips[0], size):.1f} ms" for size in SIZES))
    print(f"calibration: {calibrate():.3f} CPU s")


def filmed(options: argparse.Namespace) -> Iterator[Clip]:
    films = FolderSource(options.clips).clips()
    films.sort(key=lambda film: hashlib.sha256(film.path.name.encode()).hexdigest())
    with FaceLandmarker() as landmarker:
        for film in films:
            frames = list(islice(read_video(film.path, FPS), options.frames))
            height, width = frames[0].shape[:2]
            try:
                crop = clip_crop(landmarker.track(frames, FPS).landmarks, width, height, MARGIN)
                frames = [crop.cut(frame, options.size) for frame in frames]
                track = landmarker.track(frames, FPS)
            except NoFaceError:
                continue
            if track.valid.all():
                points = track.landmarks[..., :2].astype(np.float64)
                yield Clip(film.path.stem, np.stack(frames), points, options.stride)


def drawn(options: argparse.Namespace) -> Iterator[Clip]:
    # A clip may be a tenth shorter than the mean.
    talkers = SyntheticTalkers(
        identities=options.count, seconds=options.frames / FPS * 1.2, image_size=options.size
    )
    for identity in range(options.count):
        sample = talkers.clip(identity, 0)
        frames = decode_frames(sample.video, range(options.frames))
        points = sample.track.landmarks[: options.frames, :, :2].astype(np.float64)
        yield Clip(sample.meta.key, frames, points, options.stride)


def repeated(clip: Clip) -> Iterator[np.ndarray]:
    for before, _, _ in clip.neighbours():
        yield clip.frames[before]


def cross_faded(clip: Clip) -> Iterator[np.ndarray]:
    for before, after, at in clip.neighbours():
        yield cv2.addWeighted(clip.frames[before], 1 - at, clip.frames[after], at, 0)


def flowing(clip: Clip) -> Iterator[np.ndarray]:
    """Both neighbours moved along the optical flow between them, and cross-faded."""
    method = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    height, width = clip.frames.shape[1:3]
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
    for before, after, at in clip.neighbours():
        pair = clip.frames[before], clip.frames[after]
        grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in pair]
        moved = []
        for picture, start, end, part in ((pair[0], *grey, at), (pair[1], *grey[::-1], 1 - at)):
            places = grid - np.float32(part) * method.calc(start, end, None)
            moved.append(cv2.remap(picture, places, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE))
        yield cv2.addWeighted(moved[0], 1 - at, moved[1], at, 0)


def ours(clip: Clip) -> Iterator[np.ndarray]:
    wanted = set(clip.wanted.tolist())
    for index, frame in enumerate(interpolated(clip.frames[clip.given], clip.points, clip.stride)):
        if index in wanted:
            yield frame


WAYS: dict[str, Callable[[Clip], Iterator[np.ndarray]]] = {
    "frame before": repeated,
    "cross-fade": cross_faded,
    "optical flow": flowing,
    "ours": ours,
}


def tried(way: Callable[[Clip], Iterator[np.ndarray]], clips: list[Clip]) -> list[tuple[float, int]]:
    """The figures of a line of the table, each with its digits."""
    begin = time.process_time()
    made = [list(way(clip)) for clip in clips]
    spent = time.process_time() - begin
    figures = [measured(clip, frames) for clip, frames in zip(clips, made, strict=True)]
    whole, face, mouth, detail = np.mean([clip.mean(axis=0) for clip in figures], axis=0)
    bends = np.concatenate([bend(clip) for clip in clips])
    bent = np.concatenate(figures)[bends >= np.quantile(bends, 0.9), 2].mean()
    return [(whole, 4), (face, 4), (mouth, 4), (bent, 4), (detail, 3), (1000 * spent / len(bends), 2)]


def measured(clip: Clip, made: list[np.ndarray]) -> np.ndarray:
    """(frames, 4): differences in the picture, the face and the mouth; detail of the face."""
    points = torch.from_numpy(clip.points[clip.wanted])
    height, width = clip.frames.shape[1:3]
    faces, mouths = (inside(boxes(points), height, width).numpy() for boxes in (face_boxes, mouth_boxes))
    figures = []
    for frame, true, face, mouth in zip(made, clip.frames[clip.wanted], faces, mouths, strict=True):
        off = np.abs(frame.astype(np.float32) - true).mean(axis=-1) / 255
        ratio = detail(frame)[face].mean() / detail(true)[face].mean()
        figures.append((off.mean(), off[face].mean(), off[mouth].mean(), ratio))
    return np.array(figures)


def detail(frame: np.ndarray) -> np.ndarray:
    return np.abs(cv2.Laplacian(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), cv2.CV_32F))


def bend(clip: Clip) -> np.ndarray:
    """How far, at most, an inner lip's landmark of each wanted frame is from the straight way, in [0, 1]."""
    lips = clip.points[:, INNER_LIPS]
    straight = np.stack(
        [lips[before] * (1 - at) + lips[after] * at for before, after, at in clip.neighbours()]
    )
    return np.linalg.norm(lips[clip.wanted] - straight, axis=-1).max(axis=-1)


def cost(clip: Clip, size: int) -> float:
    """CPU milliseconds of a frame of ours, median of 20, of this side."""
    small = [cv2.resize(clip.frames[index], (size, size)) for index in (0, 2)]
    spent = []
    for _ in range(20):
        frames = interpolated(small, clip.points[:3], 2)
        next(frames)
        begin = time.process_time()
        next(frames)
        spent.append(time.process_time() - begin)
    return 1000 * float(np.median(spent))


if __name__ == "__main__":
    main()
