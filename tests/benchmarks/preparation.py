"""What it costs to prepare clips, and how much of that is the landmarker's own.

    python tests/benchmarks/preparation.py --clips DIR [--seconds 60] [--size 256]

Takes clips of DIR in the order of a hash of their names until they last --seconds, prepares them in this process, and
prints, in CPU seconds (all threads): seconds of film prepared per core-minute; the share that the landmarker takes and
the whole cost divided by it; landmarks per second of one core at 512x512; peak memory; the calibration of this run.
"""

import argparse
import hashlib
import resource
import time
from pathlib import Path

import cv2
from calibration import calibrate

from aniportrait.data.clip_preparation import PreparationSettings, prepare_clip
from aniportrait.data.film import film_seconds
from aniportrait.data.folder import FolderSource
from aniportrait.data.media import read_video
from aniportrait.data.sample_codec import encode_sample
from aniportrait.data.sources import SourceClip
from aniportrait.face.detector import FaceDetector
from aniportrait.face.landmarks import FaceLandmarker

ORIGINAL = 39.5
"""Landmarks per second of one core at 512x512 of the original's code, where the calibration took 0.585 s."""
ORIGINAL_CALIBRATION = 0.585


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU cost of preparation.")
    parser.add_argument("--clips", required=True, help="folder of videos")
    parser.add_argument("--seconds", type=float, default=60.0, help="of film to prepare")
    parser.add_argument("--size", type=int, default=256, help="side of the stored square")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    clips = chosen(options.clips, options.seconds)
    with FaceLandmarker() as landmarker:
        rate = landmarks_per_second(landmarker, clips[0].path)
        landmarker.detections(next(read_video(clips[0].path)))
        watch = Stopwatch()
        begin, film = time.process_time(), 0.0
        for clip in clips:
            for piece in prepare_clip(clip, PreparationSettings(image_size=options.size), landmarker):
                film += piece.seconds
                if piece.sample is not None:
                    encode_sample(piece.sample)
        spent = time.process_time() - begin
    unit = calibrate()
    print(f"{len(clips)} clips, {film:.1f} s of film, stored at {options.size}x{options.size}")
    print(
        f"prepared: {60 * film / spent:.0f} s of film per core-minute ({spent / film / unit:.3f} C per second)"
    )
    print(
        f"landmarker: {100 * watch.spent / spent:.0f} % of it; the whole costs {spent / watch.spent:.2f} times as much"
    )
    scaled = rate * unit / ORIGINAL_CALIBRATION
    print(
        f"landmarks at 512x512: {rate:.1f} frames/s per core, {rate / ORIGINAL:.2f} times the original's {ORIGINAL}; "
        f"{scaled / ORIGINAL:.2f} times after the calibrations"
    )
    print(f"peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    print(f"calibration: {unit:.3f} CPU s")


def chosen(folder: str, seconds: float) -> list[SourceClip]:
    clips = sorted(
        FolderSource(folder).clips(), key=lambda clip: hashlib.sha256(clip.path.name.encode()).hexdigest()
    )
    taken, total = [], 0.0
    for clip in clips:
        if total < seconds:
            taken.append(clip)
            total += film_seconds(clip.path) or 0.0
    return taken


def landmarks_per_second(landmarker: FaceLandmarker, path: Path, most: int = 150) -> float:
    """All that is measured of each frame: landmarks, blendshapes, metric mesh, pose."""
    frames = [
        cv2.resize(frame, (512, 512), interpolation=cv2.INTER_AREA)
        for _, frame in zip(range(most), read_video(path), strict=False)
    ]
    landmarker.track(frames[:5], 25.0)
    begin = time.process_time()
    landmarker.track(frames, 25.0)
    return len(frames) / (time.process_time() - begin)


class Stopwatch:
    """CPU seconds spent in MediaPipe, from now on."""

    def __init__(self):
        self.spent = 0.0
        original = FaceDetector.faces

        def timed(detector, *arguments):
            begin = time.process_time()
            try:
                return original(detector, *arguments)
            finally:
                self.spent += time.process_time() - begin

        FaceDetector.faces = timed


if __name__ == "__main__":
    main()
