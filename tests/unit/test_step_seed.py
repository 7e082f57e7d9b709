"""What dropout and SpecAugment draw in a training step."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from aniportrait.training.callbacks.step_seed import StepSeed


def drawn(step: int, rank: int) -> tuple[float, float]:
    trainer = SimpleNamespace(global_step=step, global_rank=rank, accumulate_grad_batches=1)
    StepSeed(seed=1).on_train_batch_start(trainer, None, None, step)
    return torch.rand(1).item(), np.random.rand()


@pytest.fixture(autouse=True)
def _generators_as_they_were():
    state = np.random.get_state()
    with torch.random.fork_rng():
        yield
    np.random.set_state(state)


def test_a_step_draws_the_same_again_and_others_and_other_ranks_something_else():
    here, again, later, elsewhere = drawn(3, 0), drawn(3, 0), drawn(4, 0), drawn(3, 1)
    assert here == again
    for one, other in ((here, later), (here, elsewhere)):
        assert one[0] != other[0]
        assert one[1] != other[1]
