"""An animator without networks, whose steps can be counted and whose video is a few bytes."""

from pathlib import Path
from threading import Event

import numpy as np

from aniportrait.pipelines.animation import Performance

FRAMES, STEPS = 5, 4


class Animator:
    """Says what it was asked for, and works in steps that can be counted."""

    def __init__(self, steps: int = STEPS, problem: Exception | None = None):
        self.portraits: list[bytes] = []
        self.asked, self.begun, self.steps, self.problem = [], 0, steps, problem
        self.gate = Event()
        """Nothing is animated while it is not set."""
        self.gate.set()

    def animate(self, request, progress):
        self.asked.append(request)
        self.portraits.append(Path(request.portrait).read_bytes())
        self.gate.wait()
        if self.problem is not None:
            raise self.problem
        return Animation(self, request)


class Animation:
    def __init__(self, animator: Animator, request):
        points = np.full((FRAMES, 468, 2), 0.5, np.float32)
        self.performance, self.fps, self._animator = Performance(points, 25.0, None), 25.0, animator

    def __len__(self):
        return FRAMES

    def save(self, out: Path, progress) -> Path:
        out.with_suffix(".part").write_bytes(b"half of it")
        for step in range(self._animator.steps):
            self._animator.begun += 1
            progress("sampling", step + 1, self._animator.steps)
        out.write_bytes(b"a video")
        return out
