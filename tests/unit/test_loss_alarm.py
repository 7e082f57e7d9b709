"""A loss that is no number or far above the recent ones ends a training; any other goes on."""

import math
from types import SimpleNamespace

import pytest
import torch

from aniportrait.training.callbacks.loss_alarm import LossAlarm, LossAlarmError


def watch(losses: list[float], window: int = 20) -> None:
    alarm, trainer = LossAlarm(window=window), SimpleNamespace(accumulate_grad_batches=1, global_step=0)
    for trainer.global_step, loss in enumerate(losses, 1):
        batch = SimpleNamespace(keys=[f"clip{trainer.global_step}", "other"])
        alarm.on_train_batch_end(trainer, None, {"loss": torch.tensor(loss)}, batch, 0)
    alarm.on_train_end(trainer, None)


def falling(count: int = 60) -> list[float]:
    """As of a likelihood: through zero, with noise."""
    return [1.0 - 0.05 * step + 0.3 * math.sin(7.0 * step) for step in range(count)]


def test_a_loss_may_fall_through_zero_and_rise_a_little_again():
    watch(falling())
    watch([*falling(), 0.0, 1.0, 3.0])


@pytest.mark.parametrize("usual", [falling(), [0.1] * 30, [-2.0] * 30])
def test_a_spike_ends_the_training_and_names_step_and_clips(usual):
    with pytest.raises(
        LossAlarmError, match=rf"^loss 500 \(of late .*step {len(usual) + 1} on clip{len(usual) + 1}, other"
    ):
        watch([*usual, 500.0])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_ends_it_from_the_first_step_on(bad):
    with pytest.raises(LossAlarmError, match=r"^loss (nan|inf|-inf) at step 2 on clip2"):
        watch([1.0, bad])


def test_there_is_no_spike_before_it_is_known_what_is_usual():
    watch([0.1] * 10 + [500.0])
    watch([0.0] * 30 + [1.0])
