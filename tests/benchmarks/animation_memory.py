"""How much memory an animation takes, by its length.

    python tests/benchmarks/animation_memory.py --weights FOLDER --portrait FILE --audio FILE [--seconds 10 60 600]

The voice, again and again, speaks for so long; 2 steps, one thread, each length in a process of its own, the whole
road from files to a file. Prints peak memory (resident, of the whole process), how much of it there was before sampling
began, and CPU seconds; draws the memory of every process over its course into OUT/memory.png.
"""

import argparse
import resource
import tempfile
import time
import wave
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure

from aniportrait.data.schema import SAMPLE_RATE
from aniportrait.data.sound import read_audio
from aniportrait.pipelines.animator import Animator
from aniportrait.pipelines.request import Request


class Course(NamedTuple):
    """Of one animation: seconds of it; peak before sampling, and in all, MiB; CPU seconds; share done, MiB at it."""

    seconds: float
    before: float
    peak: float
    spent: float
    done: list[float]
    resident: list[float]


def main() -> None:
    parser = argparse.ArgumentParser(description="Peak memory of animations of several lengths.")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--portrait", required=True)
    parser.add_argument("--audio", required=True)
    parser.add_argument("--seconds", type=float, nargs="+", default=[10.0, 60.0, 600.0])
    parser.add_argument("--out", type=Path, default=Path("outputs/bench_animate"))
    options = parser.parse_args()
    print("seconds  MiB before sampling  MiB peak  above the first  CPU s")
    courses: list[Course] = []
    jobs = [(options.weights, options.portrait, options.audio, seconds) for seconds in options.seconds]
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        for course in pool.map(animated, jobs):
            courses.append(course)
            above = course.peak - courses[0].peak
            print(
                f"{course.seconds:7g}{course.before:21.0f}{course.peak:10.0f}{above:17.0f}{course.spent:7.0f}",
                flush=True,
            )
    draw(courses, options.out / "memory.png")
    print(f"wrote {options.out / 'memory.png'}")


def animated(job: tuple[str, str, str, float]) -> Course:
    weights, portrait, audio, seconds = job
    torch.set_num_threads(1)
    begin = time.process_time()
    done: list[float] = []
    resident: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        voice = Path(folder) / "voice.wav"
        write_repeated(Path(audio), seconds, voice)
        animation = Animator(weights).animate(Request(portrait, audio=voice, steps=2))
        before = peak()

        def progress(_: str, steps: int, of: int) -> None:
            done.append(100 * steps / of)
            resident.append(now())

        animation.save(Path(folder) / "film.mp4", progress)
    return Course(seconds, before, peak(), time.process_time() - begin, done, resident)


def write_repeated(source: Path, seconds: float, target: Path) -> None:
    """A WAV of this many seconds, written piece by piece: the process is to know nothing of it."""
    piece = (np.clip(read_audio(source), -1, 1) * 32767).astype("<i2")
    left = round(seconds * SAMPLE_RATE)
    with wave.open(str(target), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        while left > 0:
            file.writeframes(piece[:left].tobytes())
            left -= len(piece)


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def now() -> float:
    """MiB resident."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def draw(courses: Sequence[Course], path: Path) -> None:
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for course in courses:
        axes.plot(course.done, course.resident, label=f"{course.seconds:g} s: peak {course.peak:.0f} MiB")
    axes.set(xlabel="done, %", ylabel="memory, MiB", title="Animations of several lengths")
    axes.set_ylim(bottom=0)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
