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
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F

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
        sys.stdout.write(json.dumps(measure(options)) + "\n")
        return
    with tempfile.TemporaryDirectory() as scratch:
        shards = options.shards or drawn_shards(Path(scratch) / "shards", options)
        folder = Path(scratch) / "frames"
        write_frames(shards, folder)
        common = [
            "--size",
            options.size,
            "--frames",
            options.frames,
            "--items",
            options.items,
            "--shards",
            shards,
        ]
        results = {
            name: alone([*common, "--folder", folder, "--only", name])
            for name in ("png and npy", "ours", "ours, float")
        }
    report(options, results)


def report(options: argparse.Namespace, results: dict[str, dict[str, float]]) -> None:
    print(
        f"{options.frames} frames and a portrait at {options.size}x{options.size}, strides {STRIDES}, one thread"
    )
    print(f"{'loader':22s}{'CPU ms per item':>18s}{'C':>8s}{'peak memory':>14s}")
    for name, row in results.items():
        label = "ours, float on the CPU" if name == "ours, float" else name
        milliseconds, peak = f"{1000 * row['seconds']:.1f}", f"{row['peak']:.2f} GB"
        print(f"{label:22s}{milliseconds:>18s}{row['c']:>8.3f}{peak:>14s}")
    theirs, ours = results["png and npy"], results["ours"]
    print(f"cheaper than PNG and npy in this run: {theirs['seconds'] / ours['seconds']:.1f} times")
    if (options.size, options.frames) == (512, 16):
        print(f"cheaper than the original by C (0.42): {ORIGINAL[1] / ours['c']:.1f} times")
        seconds = ORIGINAL[0] / ours["seconds"]
        print(f"cheaper than the original by CPU seconds (0.245, on another machine): {seconds:.1f} times")


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


def alone(words: list) -> dict[str, float]:
    """A measurement in a process of its own, for its peak memory."""
    command = [sys.executable, __file__, *map(str, words)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure(options: argparse.Namespace) -> dict[str, float]:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    items = LOADERS[options.only](options)
    next(items)
    spent = []
    for _ in range(options.items):
        begin = time.process_time()
        next(items)
        spent.append(time.process_time() - begin)
    peak = peak_memory()
    seconds = float(np.mean(spent))  # the mean: long and short strides both belong to it
    return {"seconds": seconds, "c": seconds / calibration(), "peak": peak}


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


LOADERS = {"png and npy": png_items, "ours": our_items, "ours, float": our_float_items}


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


def calibration() -> float:
    """CPU seconds of one thread for fixed work in float32: the unit C. Median of 5 after a warm-up."""
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(1024, 1024, generator=generator)
    image, filters = (
        torch.randn(*shape, generator=generator) for shape in ((4, 128, 32, 32), (128, 128, 3, 3))
    )
    tokens = torch.randn(4, 8, 1024, 32, generator=generator)
    return median_seconds(
        lambda: (
            [matrix @ matrix for _ in range(10)],
            [F.conv2d(image, filters, padding=1) for _ in range(10)],
            [F.scaled_dot_product_attention(tokens, tokens, tokens) for _ in range(4)],
        )
    )


def median_seconds(work: Callable[[], object]) -> float:
    spent = []
    for _ in range(6):
        begin = time.process_time()
        work()
        spent.append(time.process_time() - begin)
    return float(np.median(spent[1:]))


if __name__ == "__main__":
    main()
