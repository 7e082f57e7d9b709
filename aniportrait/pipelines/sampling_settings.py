"""How frames are sampled: numbers that are checked before anything is loaded or measured."""

import math
from dataclasses import dataclass

from aniportrait.diffusion.solvers import check_solver

MOST_STEPS = 1000
"""Timesteps of the noise schedules."""


@dataclass(frozen=True)
class SamplingSettings:
    """How frames are sampled.

    Args:
        steps: of the solver.
        guidance_scale: w in u + w (c - u); 1 is off.
        guidance_rescale: share of the contrast that guidance adds to be taken back, 0 to 1.
        guidance_interval: from and to which time of the schedule there is guidance, 0 (clean) to 1 (noise).
        shared_noise: part of the noise that all frames have in common, 0 to 1.
        seed: of the noise.
        solver: ddim, dpm or unipc.
    """

    steps: int
    guidance_scale: float = 1.0
    guidance_rescale: float = 0.0
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    shared_noise: float = 0.0
    seed: int = 42
    solver: str = "ddim"

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= MOST_STEPS:
            raise ValueError(f"steps ({self.steps}) must be at least 1 and at most {MOST_STEPS}")
        if not math.isfinite(self.guidance_scale):
            raise ValueError(f"guidance_scale ({self.guidance_scale}) must be a number")
        interval = tuple(self.guidance_interval)
        object.__setattr__(self, "guidance_interval", interval)  # a list in a card
        if len(interval) != 2 or not 0 <= interval[0] < interval[1] <= 1:
            raise ValueError(
                f"guidance_interval ({interval}) must be two numbers that rise within 0 to 1, as [0.2,0.8]"
            )
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed ({self.seed}) must be from 0 to 2^63 - 1")
        if not 0 <= self.guidance_rescale <= 1:
            raise ValueError(f"guidance_rescale ({self.guidance_rescale}) must be from 0 to 1")
        if not 0 <= self.shared_noise <= 1:
            raise ValueError(f"shared_noise ({self.shared_noise}) must be from 0 to 1")
        check_solver(self.solver)

    @property
    def guidance_words(self) -> str:
        """As in "2 between times 0.2 and 0.8, rescaled by 0.7"."""
        words = f"{self.guidance_scale:g}"
        if self.guidance_scale != 1 and self.guidance_interval != (0.0, 1.0):
            words += f" between times {self.guidance_interval[0]:g} and {self.guidance_interval[1]:g}"
        return words + (f", rescaled by {self.guidance_rescale:g}" if self.guidance_rescale else "")
