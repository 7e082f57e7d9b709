"""What a training sample costs: ours against a loader of PNG frames and npy landmarks, in one run.

    python tests/benchmarks/loading.py [--size 512] [--frames 16] [--seconds 8] [--items 40] [--shards DIR]

Both give the pictures of a window and a portrait with the landmarks drawn on black, at the same size, for windows
drawn alike (strides 1 and 4 with equal chance), one thread, every clip read anew (no cache of ours; files are in the
system's cache for both). The other loader is written here the way such data sets are usually read: a PNG and an npy a
frame, `cv2.imread`, colours turned, resized, `np.load`, lines drawn, pixels to float tensors in [-1, 1]. Ours hands
over uint8, which becomes float where the networks are; the line "float on the CPU" adds what that costs here.

Prints CPU milliseconds per item, the same divided by the calibration of this run (C), and the peak memory of a
process that does nothing else. Without --shards the clips are drawn talkers.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from calibration import calibrate

from aniportrait.data.clip_codec import decode_frames
from aniportrait.data.portrait_windows import PortraitWindows
from aniportrait.data.shards import ShardIndex, read_sample
from aniportrait.data.synthetic import SyntheticTalkers
from aniportrait.data.transforms import random_reference, random_window, signed_unit
from aniportrait.face.draw import draw_pose_image

STRIDES = (1, 4)
GAP = 8
ORIGINAL = 0.245, 0.42
"""CPU seconds and C of the original's loader for 16 frames at 512x512."""


def main() -> None:
    options = arguments()
    if options.only:
        items = LOADERS[options.only](options)
        for _ in range(5):
            next(items)
        sys.stdout.write(f"{peak_memory()}\n")
        return
    with tempfile.TemporaryDirectory() as scratch:
        options.shards = options.shards or drawn_shards(Path(scratch) / "shards", options)
        options.folder = Path(scratch) / "frames"
        write_frames(options.shards, options.folder)
        report(options, measure(options), {name: peak_alone(name, options) for name in LOADERS})


def report(options: argparse.Namespace, seconds: dict[str, float], peaks: dict[str, float]) -> None:
    unit = calibrate()
    print(
        f"{options.frames} frames and a portrait at {options.size}x{options.size}, strides {STRIDES}, one thread"
    )
    print(f"calibration: {unit:.3f} CPU s")
    print(f"{'loader':24s}{'CPU ms per item':>16s}{'C':>8s}{'peak memory':>14s}")
    for name, spent in seconds.items():
        print(f"{name:24s}{1000 * spent:>16.1f}{spent / unit:>8.3f}{peaks[name]:>11.2f} GB")
    ours = seconds["ours"]
    print(f"cheaper than PNG and npy in this run: {seconds['PNG and npy'] / ours:.1f} times")
    if (options.size, options.frames) == (512, 16):
        print(f"cheaper than the original by C (0.42): {ORIGINAL[1] * unit / ours:.1f} times")
        print(
            f"cheaper than the original by CPU seconds (0.245, on another machine): {ORIGINAL[0] / ours:.1f} times"
        )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="CPU milliseconds for one training sample.")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=8.0, help="length of the drawn clips")
    parser.add_argument("--items", type=int, default=40)
    parser.add_argument("--shards", type=Path, default=None, help="measure on these instead of drawn talkers")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(options: argparse.Namespace) -> dict[str, float]:
    """CPU seconds per item of each loader, their items in turn: what else the machine does is then alike for all."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    loaders = {name: loader(options) for name, loader in LOADERS.items()}
    spent: dict[str, list[float]] = {name: [] for name in loaders}
    for turn in range(options.items + 1):
        for name, items in loaders.items():
            begin = time.process_time()
            next(items)
            if turn:  # the first is a warm-up
                spent[name].append(time.process_time() - begin)
    # The mean: short and long strides both belong to it.
    return {name: float(np.mean(seconds)) for name, seconds in spent.items()}


def peak_alone(name: str, options: argparse.Namespace) -> float:
    """GB, in a process that does nothing else."""
    words = [
        "--size",
        options.size,
        "--frames",
        options.frames,
        "--shards",
        options.shards,
        "--folder",
        options.folder,
    ]
    command = [sys.executable, __file__, *map(str, words), "--only", name]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def peak_memory() -> float:
    """GB of this program alone; getrusage would count those of the program that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1e6


def our_items(options: argparse.Namespace) -> Iterator[object]:
    windows = PortraitWindows(options.size, options.frames, STRIDES, GAP, cache_bytes=0)
    entries = suitable(options)
    generator = np.random.default_rng(0)
    while True:
        yield windows.collate([windows.random(entries[generator.integers(len(entries))], generator)])


def our_float_items(options: argparse.Namespace) -> Iterator[object]:
    for batch in our_items(options):
        yield [
            signed_unit(pixels)
            for pixels in (batch.frames, batch.pose_image, batch.reference_image, batch.reference_pose_image)
        ]


def png_items(options: argparse.Namespace) -> Iterator[object]:
    entries = suitable(options)
    generator = np.random.default_rng(0)
    while True:
        entry = entries[generator.integers(len(entries))]
        clip = options.folder / entry.key
        valid = np.load(clip / "valid.npy")
        frames = random_window(valid, options.frames, STRIDES, generator)
        wanted = [*frames.tolist(), random_reference(valid, frames, GAP, generator)]
        pictures, drawn = [], []
        for number in wanted:
            picture = cv2.cvtColor(cv2.imread(str(clip / f"{number:06d}.png")), cv2.COLOR_BGR2RGB)
            pictures.append(as_tensor(cv2.resize(picture, (options.size, options.size))))
            points = np.load(clip / f"{number:06d}.npy")
            drawn.append(as_tensor(draw_pose_image(points, options.size, options.size)))
        yield torch.stack(pictures), torch.stack(drawn)


def as_tensor(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1).contiguous().float().div(255).sub(0.5).div(0.5)


LOADERS = {"PNG and npy": png_items, "ours": our_items, "ours, float on the CPU": our_float_items}


def suitable(options: argparse.Namespace) -> list:
    entries = ShardIndex.load(options.shards).samples
    return [entry for entry in entries if entry.frames > max(STRIDES) * options.frames]


def drawn_shards(folder: Path, options: argparse.Namespace) -> Path:
    talkers = SyntheticTalkers(
        identities=4, clips_per_identity=1, seconds=options.seconds, image_size=options.size, workers=1
    )
    talkers.write(folder)
    return folder


def write_frames(shards: Path, folder: Path) -> None:
    """The same clips as a PNG and an npy for each frame."""
    index = ShardIndex.load(shards)
    for entry in index.samples:
        clip = folder / entry.key
        clip.mkdir(parents=True)
        sample = read_sample(shards, entry)
        np.save(clip / "valid.npy", sample.track.valid)
        pictures = decode_frames(sample.video, range(entry.frames))
        for number, (picture, points) in enumerate(zip(pictures, sample.track.landmarks, strict=True)):
            cv2.imwrite(str(clip / f"{number:06d}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
            np.save(clip / f"{number:06d}.npy", points)


if __name__ == "__main__":
    main()
