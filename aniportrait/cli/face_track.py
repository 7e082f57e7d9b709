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
    """Two passes: where the face is, then its track in one square crop; at `fps`, the first `duration` seconds."""
    limit = None if duration is None else max(1, round(duration * fps))
    frames = list(islice(read_video(video, fps), limit))
    with face_landmarker(paths, "image") as landmarker:
        looks = [landmarker.detect(frame) for frame in frames[:: max(1, round(fps))]]
    found = [look.landmarks[0] for look in looks if look.valid[0]]
    if not found:
        raise NoFaceError(f"{video} shows no face that can be found")
    height, width = frames[0].shape[:2]
    crop = face_crop(np.stack(found), width, height)
    with face_landmarker(paths, "image") as landmarker:
        squares = tqdm(
            (crop.cut(frame, MEASURE_SIZE) for frame in frames), "landmarks", len(frames), unit="frame"
        )
        return landmarker.track(squares, fps)
