"""How far each speed profile's frames are from those of `exact`, of one portrait and voice.

    python tests/benchmarks/animation_distances.py --weights FOLDER --portrait FILE --audio FILE [--seconds 4]

The head is still, so that all make the same movements. Beside the profiles stands `exact` with another seed of the
noise: a difference that the eye does not mind, for scale. Prints mean absolute difference in [0, 1] in the face's box
and in the mouth's; the distance of the landmarks found in both in percent of the face's size, and in how many frames
they were found in both (in blurred faces they are not); CPU seconds of sampling and of what is made between. Some
frames of all go to OUT/profiles.png.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from aniportrait.evaluation.face_l1 import FaceRegionL1
from aniportrait.evaluation.face_regions import face_boxes, mouth_boxes
from aniportrait.evaluation.landmark_distance import LandmarkDistance
from aniportrait.face.landmarks import FaceLandmarker
from aniportrait.pipelines.animator import Animator
from aniportrait.pipelines.request import Request
from aniportrait.pipelines.speed import SPEEDS

SEED = 42
ROWS = {"exact": ("exact", SEED), "exact, other seed": ("exact", SEED + 1)} | {
    name: (name, SEED) for name in SPEEDS if name != "exact"
}
"""What a row is called -> its profile and seed; the first is what others are held against."""
SHOWN = 8
"""Frames of each row in the picture."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Distances of speed profiles from exact frames.")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--portrait", required=True)
    parser.add_argument("--audio", required=True)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--out", type=Path, default=Path("outputs/bench_animate"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = {}
    for name, (speed, seed) in ROWS.items():
        request = Request(
            options.portrait,
            audio=options.audio,
            head_pose="still",
            duration=options.seconds,
            speed=speed,
            seed=seed,
        )
        rows[name] = sampled(Animator(options.weights, precision=SPEEDS[speed].precision_on("cpu")), request)
    exact, points, _ = rows[next(iter(rows))]
    exact_found = found(exact)
    print(f"{options.weights}, {len(exact)} frames of {exact.shape[1]} pixels, distances from exact")
    print("                     face L1  mouth L1  landmarks, %  found   CPU s")
    for name, (frames, _, spent) in rows.items():
        print(f"{name:20s}" + distances(frames, exact, points, exact_found) + f"{spent:8.1f}")
    save_picture(options.out / "profiles.png", [frames for frames, _, _ in rows.values()])
    print(f"wrote {options.out / 'profiles.png'}: " + ", ".join(rows))


def sampled(animator: Animator, request: Request) -> tuple[np.ndarray, np.ndarray, float]:
    """Frames (f, h, w, 3), the landmarks that they were to show, CPU seconds."""
    animation = animator.animate(request)
    begin = time.process_time()
    frames = np.stack(list(animation))
    return frames, animation.performance.points, time.process_time() - begin


def found(frames: np.ndarray) -> list[np.ndarray | None]:
    """Landmarks (478, 3) in [0, 1] of each frame, None where there are none."""
    landmarks: list[np.ndarray | None] = []
    with FaceLandmarker() as landmarker:
        for frame in frames:
            faces = landmarker.detections(frame)
            landmarks.append(faces[0].landmarks if faces else None)
    return landmarks


def distances(
    frames: np.ndarray, exact: np.ndarray, points: np.ndarray, exact_found: list[np.ndarray | None]
) -> str:
    ours, theirs = (
        torch.from_numpy(video).permute(0, 3, 1, 2)[None].float() / 127.5 - 1 for video in (frames, exact)
    )
    shown = torch.from_numpy(points)[None]
    figures = []
    for boxes in (face_boxes(shown), mouth_boxes(shown)):
        metric = FaceRegionL1()
        metric.update(ours, theirs, boxes)
        figures.append(float(metric.compute()))
    pairs = [
        (mine, other)
        for mine, other in zip(found(frames), exact_found, strict=True)
        if mine is not None and other is not None
    ]
    metric = LandmarkDistance()
    if pairs:
        both = torch.from_numpy(np.array(pairs, np.float32)).transpose(0, 1)[:, None]  # 2, 1, f, n, 3
        metric.update(both[0], both[1], torch.ones(1, len(pairs), dtype=torch.bool))
        figures.append(float(metric.compute()))
    else:
        figures.append(float("nan"))
    return "{:8.4f}{:10.4f}{:14.2f}".format(*figures) + f"{len(pairs):7d}"


def save_picture(path: Path, videos: list[np.ndarray]) -> None:
    """A row of every video, of the same frames."""
    chosen = np.linspace(0, len(videos[0]) - 1, SHOWN).round().astype(int)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate([np.concatenate(video[chosen], axis=1) for video in videos])).save(path)


if __name__ == "__main__":
    main()
