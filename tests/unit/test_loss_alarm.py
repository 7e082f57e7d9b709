"""A loss or weights that are no numbers, or a loss far above the recent ones, end a training; any other goes on."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from aniportrait.training.callbacks.ema import CURRENT
from aniportrait.training.callbacks.loss_alarm import LossAlarm, LossAlarmError


class OneProcess:
    def reduce_boolean_decision(self, decision, all):
        return decision


class BesideARank(OneProcess):
    """Of two, the other of which says that something is wrong."""

    def reduce_boolean_decision(self, decision, all):
        return not all or decision


def trainer(strategy=None, world_size=1) -> Any:
    return SimpleNamespace(
        accumulate_grad_batches=1, global_step=0, world_size=world_size, strategy=strategy or OneProcess()
    )


def step(alarm, trainer, loss: float, device: str = "cpu") -> None:
    batch = SimpleNamespace(keys=[f"clip{trainer.global_step + 1}", "other"])
    trainer.global_step += 1
    alarm.on_train_batch_end(
        trainer,
        nn.Linear(1, 1),
        {"loss": torch.full((), loss, device=device)},
        batch,
        trainer.global_step - 1,
    )


def watch(losses: list[float], alarm: LossAlarm | None = None) -> None:
    alarm, run = alarm or LossAlarm(window=20), trainer()
    for loss in losses:
        step(alarm, run, loss)
    alarm.on_train_end(run, nn.Linear(1, 1))


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


@pytest.mark.parametrize("part", ["state_dict", CURRENT])
def test_no_checkpoint_is_written_of_weights_or_averages_that_are_no_numbers(part):
    checkpoint: dict[str, Any] = {"state_dict": {"a": torch.zeros(2)}, CURRENT: {"a": torch.zeros(2)}}
    LossAlarm().on_save_checkpoint(trainer(), nn.Linear(1, 1), checkpoint)
    checkpoint[part]["a"][1] = math.nan
    with pytest.raises(
        LossAlarmError, match=r"^1 of the weights, a the first, are not finite after step 0: st"
    ):
        LossAlarm().on_save_checkpoint(trainer(), nn.Linear(1, 1), checkpoint)


def test_nothing_is_handed_over_when_the_last_step_spoilt_the_weights():
    module = nn.Linear(1, 1)
    nn.init.constant_(module.bias, math.inf)
    with pytest.raises(LossAlarmError, match="bias the first"):
        LossAlarm().on_train_end(trainer(), module)


def test_a_rank_whose_own_batches_are_good_writes_no_checkpoint_beside_one_whose_are_not():
    with pytest.raises(LossAlarmError, match="another rank names"):
        LossAlarm().on_save_checkpoint(trainer(BesideARank(), 2), nn.Linear(1, 1), {"state_dict": {}})


def test_ranks_agree_at_the_same_steps_and_not_at_every_one():
    run, alarm = trainer(world_size=2), LossAlarm(agree_every=5)
    for loss in (1.0, math.nan, 1.0, 1.0):
        step(alarm, run, loss)
    with pytest.raises(LossAlarmError, match=r"^loss nan at step 2 on clip2"):
        step(alarm, run, 1.0)


def test_a_resumed_run_knows_what_is_usual():
    alarm, checkpoint = LossAlarm(window=20), {"state_dict": {}}
    watch(falling(), alarm)
    alarm.on_save_checkpoint(trainer(), nn.Linear(1, 1), checkpoint)
    resumed = LossAlarm(window=20)
    resumed.on_load_checkpoint(trainer(), nn.Linear(1, 1), checkpoint)
    with pytest.raises(LossAlarmError, match=r"^loss 500"):
        watch([500.0], resumed)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA: elsewhere nothing is queued")
def test_looking_at_a_loss_does_not_wait_for_the_step_that_is_being_computed():
    run, alarm, queued = trainer(), LossAlarm(), torch.cuda.Event()
    step(alarm, run, 1.0, "cuda")
    torch.cuda._sleep(10**9)
    queued.record()
    step(alarm, run, math.nan, "cuda")
    assert not queued.query()
    with pytest.raises(LossAlarmError, match=r"^loss nan at step 2"):
        alarm.on_train_end(run, nn.Linear(1, 1))
