"""A run whose figure is worse than it may be ends early, and with a figure."""

import logging

import pytest
import torch
from lightning import LightningModule, Trainer
from torch.utils.data import DataLoader

from aniportrait.training.callbacks.hopeless_run import HopelessRun


class Falling(LightningModule):
    """Logs `figures` one after the other, a validation each."""

    def __init__(self, figures):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.figures = iter(figures)

    def training_step(self, batch, batch_idx):
        return self.weight * 0.0

    def validation_step(self, batch, batch_idx):
        self.log("val/figure", torch.tensor(next(self.figures)))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def steps_of(figures, tmp_path, **settings):
    """How many steps a run of at most 8 takes that is validated after every second one."""
    trainer = Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        max_steps=8,
        val_check_interval=2,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[HopelessRun("val/figure", **settings)],
    )
    data = DataLoader(torch.zeros(16))
    trainer.fit(Falling(figures), data, DataLoader(torch.zeros(1)))
    return trainer.global_step


@pytest.mark.parametrize(
    ("figures", "settings", "steps"),
    [
        ([0.9, 0.6, 0.5, 0.4], {"worst": 0.5}, 2),
        ([0.9, 0.6, 0.5, 0.4], {"worst": 0.5, "after_step": 4}, 4),
        ([0.9, 0.6, 0.5, 0.4], {"worst": 0.5, "after_step": 5}, 8),
        ([0.4, 0.6, 0.5, 0.4], {"worst": 0.5}, 4),
        ([0.4, float("nan"), 0.5, 0.4], {"worst": 0.5}, 4),
        ([0.2, 0.4, 0.1, 0.1], {"worst": 0.3, "mode": "max", "after_step": 4}, 6),
        ([0.5, 0.5, 0.5, 0.5], {"worst": 0.5}, 8),
    ],
)
def test_a_run_ends_at_the_first_validation_that_counts_and_is_too_bad(figures, settings, steps, tmp_path):
    assert steps_of(figures, tmp_path, **settings) == steps


def test_the_log_says_why(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "aniportrait"):
        steps_of([0.9, 0.0, 0.0, 0.0], tmp_path, worst=0.5)
    assert [record.getMessage() for record in caplog.records] == [
        "val/figure (0.9) must not be worse than 0.5 after step 2: given up"
    ]
