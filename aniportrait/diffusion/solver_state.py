"""What diffusers' solvers remember from step to step, as tensors."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

REMEMBERED = (
    "model_outputs",
    "timestep_list",
    "last_sample",
    "lower_order_nums",
    "this_order",
    "_step_index",
)
"""Attributes of DPMSolverMultistepScheduler and UniPCMultistepScheduler that a step changes. DDIM has none."""


def solver_state(solver: Any) -> dict[str, Tensor]:
    """Name -> tensor of what the solver remembers; what it does not remember yet is left out."""
    state: dict[str, Tensor] = {}
    for name in REMEMBERED:
        value = getattr(solver, name, None)
        if isinstance(value, list):
            state |= {
                f"{name}.{i}": torch.as_tensor(item) for i, item in enumerate(value) if item is not None
            }
        elif value is not None:
            state[name] = torch.as_tensor(value)
    return state


def load_solver_state(solver: Any, state: Mapping[str, Tensor]) -> None:
    """Let a fresh solver of the same settings go on from `state`."""
    for key, value in state.items():
        name, _, place = key.partition(".")
        restored = value if value.ndim else value.item()
        if place:
            getattr(solver, name)[int(place)] = restored
        else:
            setattr(solver, name, restored)
