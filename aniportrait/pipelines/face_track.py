"""The face of a video, measured as preparation measures it."""

import logging
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np

from aniportrait.data.constant_rate import MediaReport
from aniportrait.data.media import read_video
from aniportrait.face.crop import face_crop
from aniportrait.face.landmarks import FaceLandmarker, NoFaceError
from aniportrait.face.track import FaceTrack
from aniportrait.pipelines.picture import MEASURE_SIZE

log = logging.getLogger(__name__)


def read_track(
    video: str | Path,
    fps: float,
    landmarker: FaceLandmarker,
    duration: float | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> FaceTrack:
    """Where the face is, then its track in one square crop; at `fps`, the first `duration` seconds.

    The film is read twice, for no film fits into memory.

    Args:
        progress: called with ("landmarks", frames done, frames in all).
    """
    limit = None if duration is None else max(1, round(duration * fps))
    found, count, width, height, report = [], 0, 0, 0, MediaReport()
    for frame in islice(read_video(video, fps, report), limit):
        if count % max(1, round(fps)) == 0 and (look := landmarker.detect(frame)).valid[0]:
            found.append(look.landmarks[0])
        (height, width), count = frame.shape[:2], count + 1
    if not found:
        raise NoFaceError(f"{video} shows no face that can be found")
    if not report.whole:
        log.warning("%s is damaged, what can be read of it is used: %s", video, report)
    crop = face_crop(np.stack(found), width, height)

    def squares():
        for done, frame in enumerate(islice(read_video(video, fps), limit), 1):
            yield crop.cut(frame, MEASURE_SIZE)
            if progress is not None:
                progress("landmarks", done, count)

    return landmarker.track(squares(), fps)
