"""How much time an animation takes, and what is given up for it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from aniportrait.models.processor import emulates_bf16
from aniportrait.pipelines.sampling_settings import SamplingSettings


@dataclass(frozen=True)
class Speed:
    """One profile.

    Args:
        solver: see SOLVERS.
        step_share: of the steps that the weights state.
        guidance_interval: from and to which time of the schedule there is guidance; None: as the weights state.
        stride: every how manieth frame is sampled; those between are made from their neighbours, by their landmarks.
        precision: of the networks: fp32, bf16 or fp16; see `precision_on`.
    """

    solver: str = "ddim"
    step_share: float = 1.0
    guidance_interval: tuple[float, float] | None = None
    stride: int = 1
    precision: str = "fp32"

    def settings(self, own: SamplingSettings, asked: Mapping[str, Any]) -> SamplingSettings:
        """The weights' own settings as this profile changes them; what is `asked` for, and not None, wins."""
        changed: dict[str, Any] = {
            "solver": self.solver,
            "steps": max(min(2, own.steps), round(self.step_share * own.steps)),
        }
        if self.guidance_interval is not None:
            changed["guidance_interval"] = self.guidance_interval
        return replace(own, **changed | {name: value for name, value in asked.items() if value is not None})

    def precision_on(self, device: torch.device | str) -> str:
        """Its precision there: fp32 instead of bf16 on a processor that would have to emulate it."""
        return "fp32" if self.precision == "bf16" and emulates_bf16(device) else self.precision


SPEEDS = {
    "exact": Speed(),
    "balanced": Speed("unipc", 1 / 2, (0.2, 0.8)),
    "fast": Speed("unipc", 1 / 3, (0.2, 0.8), stride=2, precision="bf16"),
}


def speed_of(name: str) -> Speed:
    """The profile of that name."""
    if name not in SPEEDS:
        raise ValueError(f"speed={name} must be one of {', '.join(SPEEDS)}")
    return SPEEDS[name]
