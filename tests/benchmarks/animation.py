"""What an animation costs by each speed profile, beside the original.

    python tests/benchmarks/animation.py [--repeats 3] [--context open|closed_loop]

128 px, 24 frames, guidance 3.5, windows of 16 frames that share 4, random weights at the sizes of `training.py`, one
thread, each row in a process of its own. "exact" takes 4 steps; the other profiles what they make of the original's 25.
Drawing the landmarks and the frames between sampled ones are in it, reading and writing files are not.

Prints CPU seconds, the median of all repeats, and what of them went into the denoiser, the decoder and the rest; C per
frame: CPU seconds divided by the calibration of the same process; and how many times less that is than the original's
at 4 steps, or at 25. The original was measured once elsewhere, at 4 steps: C 32 for the 24 frames. At 25 steps it is
computed from its parts there: the denoiser (14.6 s) and its PoseGuider (1.8 s) run at every step, the decoder (2.7 s)
once, and its calibration was 0.585 s.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from calibration import calibrate
from torch import nn
from training import training

from aniportrait.diffusion.context import ClosedLoopWindows, OpenWindows
from aniportrait.diffusion.noise_schedule import build_scheduler
from aniportrait.face.canonical import load_canonical_face
from aniportrait.face.head_pose import pose_matrices, project
from aniportrait.models.inference import PRECISIONS, for_inference
from aniportrait.models.motion_module import MotionModule
from aniportrait.models.portrait_networks import PortraitNetworks
from aniportrait.models.processor import emulates_bf16
from aniportrait.pipelines.animation import Animation, Performance
from aniportrait.pipelines.interpolation import keyframe_indices
from aniportrait.pipelines.portrait import PortraitPipeline
from aniportrait.pipelines.sampling_settings import SamplingSettings
from aniportrait.pipelines.speed import SPEEDS

SIDE, FRAMES = 128, 24
ORIGINAL = {4: 32.0, 25: ((14.6 + 1.8) / 4 * 25 + 2.7) / 0.585}
"""Steps -> C of the original for all frames."""
ROWS = (("exact", 4), ("balanced", 25), ("fast", 25))
"""Profile, steps of the original that it is held against."""
WINDOWS = {"open": OpenWindows(16, 4), "closed_loop": ClosedLoopWindows(16, 4)}
DISTANCE = 60.0
"""Of the head from the camera, cm."""


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU seconds of an animation.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--context", choices=tuple(WINDOWS), default="open")
    options = parser.parse_args()
    print(f"{SIDE}x{SIDE}, {FRAMES} frames, guidance 3.5, context={options.context}, one thread, CPU seconds")
    print(
        "profile   numbers  solver  steps  frames  denoiser  decoder    rest   whole  calibration  C/frame",
        end="",
    )
    print("  times less than the original")
    rows = [(name, SPEEDS[name].precision_on("cpu"), steps) for name, steps in ROWS]
    if not emulates_bf16("cpu"):
        rows.insert(1, ("exact", "bf16", 4))
    rows = [(*row, options.context, options.repeats) for row in rows]
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        for row in pool.map(measured, rows):
            print(row, flush=True)
    print(
        f"The original at 25 steps is computed from its parts: C {ORIGINAL[25]:.0f} for all frames; at 4, C 32."
    )


def measured(row: tuple[str, str, int, str, int]) -> str:
    name, precision, steps, context, repeats = row
    torch.set_num_threads(1)
    torch.manual_seed(0)
    networks, speed = random_networks(), SPEEDS[name]
    for_inference(networks, PRECISIONS[precision])
    settings = speed.settings(SamplingSettings(steps, guidance_scale=3.5), {})
    pipeline = PortraitPipeline(networks, build_scheduler(beta_schedule="linear"), SIDE, WINDOWS[context])
    spent = {"denoiser": 0.0, "decoder": 0.0}
    networks.denoising_unet.forward = timed(networks.denoising_unet.forward, spent, "denoiser")
    networks.decode = timed(networks.decode, spent, "decoder")
    animation = Animation(pipeline, *talking_head(), settings, speed.stride)
    runs = [run(animation, spent) for _ in range(repeats + 1)][1:]
    denoiser, decoder, rest, whole, unit = (statistics.median(part) for part in zip(*runs, strict=True))
    cost = statistics.median(spent[-2] / spent[-1] for spent in runs)
    sampled = len(keyframe_indices(FRAMES, speed.stride))
    return (
        f"{name:10s}{precision:7s}{settings.solver:>8s}{settings.steps:7d}{sampled:8d}"
        f"{denoiser:10.2f}{decoder:9.2f}{rest:8.2f}{whole:8.2f}{unit:13.3f}{cost / FRAMES:9.2f}"
        f"{ORIGINAL[steps] / cost:8.2f} at {steps} steps"
    )


def run(animation: Animation, spent: dict[str, float]) -> tuple[float, ...]:
    """CPU seconds of the denoiser, the decoder, the rest, all, and the calibration about it."""
    spent.update(dict.fromkeys(spent, 0.0))
    unit, begin = calibrate(3), time.process_time()
    frames = sum(1 for _ in animation)
    whole = time.process_time() - begin
    if frames != FRAMES:
        raise ValueError(f"{frames} frames were made, not {FRAMES}")
    return *spent.values(), whole - sum(spent.values()), whole, (unit + calibrate(3)) / 2


def timed(call: Callable[..., Any], spent: dict[str, float], name: str) -> Callable[..., Any]:
    """The same call, its CPU seconds added to `spent[name]`."""

    def answered(*args: Any, **kwargs: Any) -> Any:
        begin = time.process_time()
        answer = call(*args, **kwargs)
        spent[name] += time.process_time() - begin
        return answer

    return answered


def random_networks() -> PortraitNetworks:
    """Those of stage 2's benchmark, with motion modules that are heard."""
    networks = training("stage2+").networks
    for module in networks.modules():
        if isinstance(module, MotionModule):
            nn.init.normal_(module.proj_out.weight, std=0.02)
    return networks


def talking_head() -> tuple[Any, Performance]:
    """A portrait of noise, and a head that turns to and fro."""
    face = load_canonical_face().vertices
    at_rest = np.eye(4)
    at_rest[2, 3] = -DISTANCE
    head_pose = np.zeros((FRAMES, 6))
    head_pose[:, 1] = 15 * np.sin(np.arange(FRAMES) / 8)
    matrices = pose_matrices(head_pose, at_rest)
    points = project(np.tile(face, (FRAMES, 1, 1)), matrices, 1, 1).astype(np.float32)
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    picture = SimpleNamespace(image=image, track=SimpleNamespace(landmarks=points[:1]))
    return picture, Performance(points, 25.0, None)


if __name__ == "__main__":
    main()
