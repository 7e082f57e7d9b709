"""make memory: what fake tensors say of a step's memory is what a real step takes."""

import sys
from pathlib import Path

import pytest
import torch
from entries import TINY, composed
from torch._subclasses.fake_tensor import FakeTensorMode

from aniportrait.cli.train import build_module

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import live_memory
import memory

SMALL = [
    "sizes.unet.block_out_channels=[16,32]",
    "sizes.unet.norm_num_groups=8",
    "sizes.pose_guider.width=16",
]
SMALL += ["sizes.motion.motion_norm_num_groups=8", "objective.condition_dropout=0.1"]
STAGES = ["stage1_reference", "stage2_motion"]


def module_of(experiment, *overrides):
    torch.manual_seed(0)
    with composed("train", f"experiment={experiment}", *TINY, *SMALL, *overrides) as config:
        return build_module(config, None)


def fake_step(experiment, *overrides, batch=(2, 4, 64)):
    with torch.device("meta"):
        module = module_of(experiment, *overrides)
    module.scheduler = module_of(experiment).scheduler
    with FakeTensorMode(allow_non_fake_inputs=True):
        live_memory.without_storage(module, {})
        return live_memory.step_memory(module, live_memory.example(*batch))


def allocated(run):
    """The most bytes above the start that torch's own allocator held on the CPU, as the profiler noted them."""
    with torch.profiler.profile(
        profile_memory=True, activities=[torch.profiler.ProfilerActivity.CPU]
    ) as profile:
        run()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("experiment", STAGES)
def test_fake_tensors_say_what_a_real_step_holds_and_the_allocator_gives(experiment, checkpointing):
    setting = f"gradient_checkpointing={checkpointing}"
    fake = fake_step(experiment, setting)
    module, batch = module_of(experiment, setting), live_memory.example(2, 4, 64)
    assert live_memory.step_memory(module, batch) == pytest.approx(fake, rel=0.02)
    assert allocated(lambda: live_memory.step_memory(module, batch)) == pytest.approx(fake[0], rel=0.1)


def test_what_lives_when_forward_ends_is_what_was_saved_for_backward():
    module, batch = module_of("stage1_reference"), live_memory.example(2, 4, 64)
    weights = {weight.untyped_storage().data_ptr() for weight in module.parameters()}
    weights |= {t.untyped_storage().data_ptr() for t in batch if isinstance(t, torch.Tensor)}
    saved = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        _, kept = live_memory.step_memory(module, batch)
    held = sum(size for place, size in saved.items() if place not in weights)
    assert held == pytest.approx(kept, rel=0.05)


@pytest.mark.parametrize("experiment", STAGES)
def test_checkpointing_holds_less_and_twice_the_batch_twice_as_much(experiment):
    one, two = (fake_step(experiment, batch=(b, 4, 64))[1] for b in (1, 2))
    weights = sum(2 * weight.numel() for weight in module_of(experiment).parameters())
    assert 2 * one - weights <= two <= 2 * one  # autocast's bfloat16 copies of weights are held once
    assert fake_step(experiment, "gradient_checkpointing=true")[1] < 0.5 * fake_step(experiment)[1]


@pytest.mark.slow
@pytest.mark.parametrize("preset", memory.PRESETS, ids=lambda preset: " ".join(map(str, preset)))
def test_a_preset_fits_its_card(preset):
    card, experiment, *overrides = preset
    row = memory.estimate(experiment, *overrides)
    assert row.total + memory.RESERVE <= card * 1e9 / memory.GIB
    stage1 = experiment == "stage1_reference"
    assert row.trained == pytest.approx(1.68e9 if stage1 else 4.53e8, rel=0.01)


def test_a_sharded_run_holds_a_quarter_of_what_four_devices_share():
    whole, parts = (
        memory.estimate("stage1_reference", "model=tiny", f"trainer={trainer}", *SMALL, files=())
        for trainer in ("ddp", "sharded")
    )
    assert (parts.trained, parts.frozen) == (whole.trained, whole.frozen)
    for part in ("weights", "gradients", "averages", "optimizer"):
        assert getattr(parts, part) == pytest.approx(getattr(whole, part) / 4)
    assert parts.activations < whole.activations
    assert 0 < parts.gathered < whole.weights
    assert whole.optimizer == pytest.approx(2 * whole.gradients)
