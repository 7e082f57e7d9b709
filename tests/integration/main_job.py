"""The trainings of the main job, each as its user starts it."""

import subprocess
import sys
from pathlib import Path

from entries import TINY

ROOT = Path(__file__).parents[2]
EXPERIMENTS = ("audio2mesh", "audio2pose", "stage1_reference", "stage2_motion")


def run_training(experiment: str, shards: Path, out: Path, *overrides: str) -> None:
    settings = [f"experiment={experiment}", *TINY, "data=shards", f"data.folder={shards}", "max_steps=2"]
    command = [sys.executable, str(ROOT / "train.py"), *settings, f"out={out}", *overrides]
    finished = subprocess.run(command, cwd=shards, capture_output=True, text=True, timeout=300)
    assert finished.returncode == 0, finished.stderr
