"""Solvers of the sampling equation by name: fewer steps than DDIM for the same picture."""

from typing import Any

from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler

SOLVERS = ("ddim", "dpm", "unipc")
"""DDIM; DPM-Solver++ of order 2 (https://arxiv.org/abs/2211.01095); UniPC of order 2 (https://arxiv.org/abs/2302.04867)."""


def solver_of(name: str, schedule: DDIMScheduler) -> Any:
    """The named solver of a noise schedule, with its betas, timesteps and kind of prediction."""
    check_solver(name)
    if name == "ddim":
        return schedule
    kind = DPMSolverMultistepScheduler if name == "dpm" else UniPCMultistepScheduler
    return kind.from_config(schedule.config, solver_order=2)


def check_solver(name: str) -> None:
    """Raise ValueError where there is no solver of that name."""
    if name not in SOLVERS:
        raise ValueError(f"solver={name} must be one of {', '.join(SOLVERS)}")
