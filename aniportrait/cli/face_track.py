"""The face of a video, measured as preparation measures it."""

from itertools import islice
from pathlib import Path

import numpy as np
from omegaconf import DictConfig
from tqdm import tqdm

from aniportrait.cli.pipelines import face_landmarker
from aniportrait.data.media import read_video
from aniportrait.face.crop import face_crop
from aniportrait.face.landmarks import NoFaceError
from aniportrait.face.track import FaceTrack
from aniportrait.pipelines.picture import MEASURE_SIZE


def read_track(video: str | Path, fps: float, paths: DictConfig, duration: float | None = None) -> FaceTrack:
    """Where the face is, then its track in one square crop; at `fps`, the first `duration` seconds.

    The film is read twice, for no film fits into memory.
    """
    limit = None if duration is None else max(1, round(duration * fps))
    found, count, width, height = [], 0, 0, 0
    with face_landmarker(paths, "image") as landmarker:
        for frame in islice(read_video(video, fps), limit):
            if count % max(1, round(fps)) == 0 and (look := landmarker.detect(frame)).valid[0]:
                found.append(look.landmarks[0])
            (height, width), count = frame.shape[:2], count + 1
    if not found:
        raise NoFaceError(f"{video} shows no face that can be found")
    crop = face_crop(np.stack(found), width, height)
    with face_landmarker(paths, "image") as landmarker:
        frames = islice(read_video(video, fps), limit)
        squares = tqdm((crop.cut(frame, MEASURE_SIZE) for frame in frames), "landmarks", count, unit="frame")
        return landmarker.track(squares, fps)
