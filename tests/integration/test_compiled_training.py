"""compile=: layers that torch.compile makes, in a training that is otherwise as ever."""

import pytest
import torch
from entries import TINY, composed
from torch._dynamo.testing import CompileCounterWithBackend
from training_runs import DESCENT, farthest, trained

from aniportrait.cli.train import build_module
from aniportrait.models.compiling import LAYERS

MOTION = ["experiment=stage2_motion", "sizes.motion.motion_norm_num_groups=8", "motion_frames=4"]
STAGES = {"stage1": ["batch_size=2"], "stage2": [*MOTION, "batch_size=1"]}
SHORT = [*DESCENT, "lr_schedule=constant", "max_steps=2", "callbacks.samples=null"]
KEPT = ["callbacks.checkpoint.every_n_train_steps=1", "callbacks.checkpoint.save_top_k=-1"]


@pytest.fixture
def counted(monkeypatch):
    """A backend that counts what it is asked to compile, in place of the one that the config names, and the modules."""
    torch.compiler.reset()
    counter, modules = CompileCounterWithBackend("eager"), []
    compile_module = torch.nn.Module.compile

    def noted(module, *args, backend, **settings):
        assert backend == "eager"
        modules.append(module)
        return compile_module(module, *args, backend=counter, **settings)

    monkeypatch.setattr(torch.nn.Module, "compile", noted)
    yield counter, modules
    torch.compiler.reset()


def test_a_compiled_run_goes_on_from_a_plain_ones_checkpoint_and_ends_where_that_does(
    shards, tmp_path, counted
):
    counter, modules = counted
    chosen = [*STAGES["stage1"], *SHORT, *KEPT]
    plain = trained(shards, tmp_path / "plain", *chosen)
    assert not modules
    start = plain / "checkpoints" / "step_000001.ckpt"
    compiled = trained(shards, tmp_path / "compiled", *chosen, "compile=eager", f"resume={start}")
    assert {type(module) for module in modules} == set(LAYERS[:2])
    assert counter.frame_count >= len(modules)
    assert farthest(plain, compiled) < 1e-5
    one, other = (
        torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in (plain, compiled)
    )
    assert list(one["state_dict"]) == list(other["state_dict"])


def test_a_speech_network_is_not_compiled():
    with (
        composed("train", "experiment=audio2mesh", *TINY, "compile=eager") as config,
        pytest.raises(ValueError, match=r"^compile \(eager\) is for stages 1 and 2, not for audio2mesh$"),
    ):
        build_module(config, None)


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@pytest.mark.parametrize("stage", STAGES)
def test_compiled_layers_train_to_the_same_weights(shards, tmp_path, stage, backend, checkpointing):
    torch.compiler.reset()
    chosen = [*STAGES[stage], *SHORT, f"gradient_checkpointing={checkpointing}"]
    plain = trained(shards, tmp_path / "plain", *chosen)
    compiled = trained(shards, tmp_path / "compiled", *chosen, f"compile={backend}")
    assert farthest(plain, compiled) < 1e-4
    torch.compiler.reset()
