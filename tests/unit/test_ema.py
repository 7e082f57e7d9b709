"""The average of the weights: long where there were steps enough, and never mostly what a run began from."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from aniportrait.training.callbacks.ema import EMA


def averages(decay, steps):
    """Of a weight that is n after step n."""
    module, ema = nn.Linear(1, 1, bias=False), EMA(decay)
    trainer = SimpleNamespace(global_step=0)
    nn.init.zeros_(module.weight)
    ema.on_fit_start(trainer, module)
    ema.on_train_start(trainer, module)
    for step in range(1, steps + 1):
        trainer.global_step = step
        nn.init.constant_(module.weight, step)
        ema.on_train_batch_end(trainer, module, None, None, 0)
        yield ema._average["weight"].item()


@pytest.mark.parametrize("steps", [10, 100, 1000])
def test_a_run_shorter_than_its_average_ends_with_what_it_learned(steps):
    *_, last = averages(0.9999, steps)
    assert 0.8 * steps < last < 0.95 * steps


def test_after_steps_enough_the_decay_is_what_was_asked_for():
    before, after = list(averages(0.5, 100))[-2:]
    assert after == pytest.approx(0.5 * before + 0.5 * 100)


def test_the_weights_themselves_are_not_touched():
    module, ema, trainer = nn.Linear(2, 2), EMA(0.9), SimpleNamespace(global_step=0)
    ema.on_fit_start(trainer, module)
    ema.on_train_start(trainer, module)
    before = module.weight.clone()
    trainer.global_step = 1
    ema.on_train_batch_end(trainer, module, None, None, 0)
    assert torch.equal(module.weight, before)
