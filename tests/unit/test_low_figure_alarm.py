"""A figure that stays low is said once, in words that name it, and only if it stays so."""

import logging
from types import SimpleNamespace
from typing import Any

from lightning.pytorch.trainer.states import TrainerFn
from torch import nn, tensor

from aniportrait.training.callbacks.low_figure_alarm import LowFigureAlarm


def said(values, caplog, fn=TrainerFn.FITTING, zero=True, **settings) -> list[str]:
    """What an alarm of `gap`, 0.01 of a loss of 0.5, says of these validations, 10 steps apart."""
    settings = {"limit": 0.01, "of": "val/loss", **settings}
    alarm = LowFigureAlarm("val/gap", "the portrait is ignored", **settings)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        for number, value in enumerate(values):
            figures = {"val/loss": tensor(0.5)} | ({} if value is None else {"val/gap": tensor(value)})
            state: Any = SimpleNamespace(
                state=SimpleNamespace(fn=fn),
                global_step=10 * (number + 1),
                callback_metrics=figures,
                is_global_zero=zero,
            )
            alarm.on_validation_end(state, nn.Module())
    return [record.getMessage() for record in caplog.records]


def test_the_third_low_validation_in_a_row_warns_once_with_values_step_and_what_to_check(caplog):
    assert said([0.2, 0.0, -0.001, 0.005, 0.0, 0.0, 0.0], caplog) == [
        "val/gap was 0, -0.001, 0.005 at the last 3 validations (limit 0.005), step 40: the portrait is ignored"
    ]


def test_a_figure_that_rises_in_between_is_not_low(caplog):
    assert said([0.0, 0.0, 0.006, 0.0, 0.0], caplog) == []


def test_validations_of_the_warm_up_without_the_figure_or_after_the_training_do_not_count(caplog):
    assert said([0.0] * 4, caplog, first_step=30) == []
    assert said([0.0, None, 0.0, None], caplog) == []
    assert said([0.0, None, 0.0, 0.0], caplog) != []
    assert said([0.0] * 4, caplog, fn=TrainerFn.VALIDATING) == []


def test_of_several_ranks_one_speaks(caplog):
    assert said([0.0] * 4, caplog, zero=False) == []
