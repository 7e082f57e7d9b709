"""Gradients have the norm that is computed by hand, network by network."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from aniportrait.training.callbacks.gradient_norms import GradientNorms


class Networks(nn.Module):
    def __init__(self):
        super().__init__()
        self.networks = nn.ModuleDict(
            {
                "pose_guider": nn.Linear(2, 1, bias=False),
                "denoising_unet": nn.ModuleDict(
                    {"conv": nn.Linear(1, 1, bias=False), "motion_modules": nn.Linear(1, 1, bias=False)}
                ),
                "reference_net": nn.Linear(1, 1, bias=False),
            }
        )
        self.logged: dict[str, float] = {}

    def log_dict(self, figures, batch_size):
        self.logged.update({name: float(value) for name, value in figures.items()})


def norms(step: int = 9) -> dict[str, float]:
    """Of gradients (3, 4), 12, 84 and none, before step `step + 1` of a run that logs every 10."""
    module: Any = Networks()
    gradients = {
        "pose_guider": [3.0, 4.0],
        "denoising_unet.conv": [12.0],
        "denoising_unet.motion_modules": [84.0],
    }
    for name, gradient in gradients.items():
        module.get_submodule(f"networks.{name}").weight.grad = torch.tensor([gradient])
    trainer: Any = SimpleNamespace(global_step=step, log_every_n_steps=10)
    GradientNorms().on_before_optimizer_step(trainer, module, torch.optim.SGD(module.parameters()))
    return module.logged


def test_norms_are_those_of_each_network_motion_modules_apart_and_of_all():
    assert norms() == pytest.approx(
        {
            "gradient_norm/pose_guider": 5.0,
            "gradient_norm/denoising_unet": 12.0,
            "gradient_norm/motion_modules": 84.0,
            "gradient_norm/total": (5**2 + 12**2 + 84**2) ** 0.5,
        }
    )


def test_they_are_computed_at_the_logging_interval_only():
    assert norms(step=8) == {}
