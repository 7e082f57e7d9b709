"""trainer=sharded: networks in parts over ranks end where one process ends, and leave what it leaves."""

import os
import signal

import pytest
import torch
from training_runs import DESCENT, PLAIN, ROOT, farthest, figures, in_a_process, same, trained

from aniportrait.checkpoints.store import open_weights
from aniportrait.training.callbacks.ema import CURRENT

SHARDED = ["trainer=sharded", "trainer.accelerator=cpu", "trainer.precision=32-true"]
ALONE = [*SHARDED, "trainer.devices=1"]
RANKS = [*SHARDED, "trainer.devices=2", "batch_size=1"]
CLIPPED = ["trainer.gradient_clip_val=0.01"]  # far below the gradients' norm
ADAM = [  # an eps that makes steps follow the gradients, and not their signs
    *("batch_size=2", "max_steps=4", "ema_decay=0.75", "callbacks.checkpoint.every_n_train_steps=2"),
    *("optimizer.eps=1.0", "learning_rate=10"),
]
KEPT = ["callbacks.checkpoint.save_top_k=-1"]
MOTION = ["experiment=stage2_motion", "sizes.motion.motion_norm_num_groups=8", "motion_frames=4"]
SIGNALLED = """
import os, signal, sys
sys.path.insert(0, {root!r})
import hydra
import aniportrait.training.stage1 as stage1

whole, calls = stage1.portrait_loss, []


def signalled(*args):
    calls.append(0)
    if len(calls) == 1 and os.environ.get("LOCAL_RANK") == "1":
        os.kill(os.getpid(), signal.SIGTERM)
    return whole(*args)


stage1.portrait_loss = signalled
main = hydra.main
hydra.main = lambda config_path, **rest: main(config_path={root!r} + "/conf", **rest)
import train
train.main()
"""


class Foreign(torch.optim.SGD):
    """From no module of torch.optim."""


@pytest.fixture
def one_rank():
    """A test process that becomes the only rank, and is none afterwards."""
    before = dict(os.environ)
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    for name in set(os.environ) - set(before):
        del os.environ[name]


def finished(process):
    try:
        errors = process.communicate(timeout=900)[1]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, errors


def last(run):
    return run / "checkpoints" / "last.ckpt"


def test_a_sharded_run_is_the_unsharded_one_and_each_goes_on_from_the_others_checkpoint(
    shards, tmp_path, one_rank
):
    plain = trained(shards, tmp_path / "plain", *ADAM, *KEPT, *CLIPPED)
    sharded = trained(shards, tmp_path / "sharded", *ADAM, *KEPT, *CLIPPED, *ALONE)
    one, other = (torch.load(last(run), weights_only=True) for run in (plain, sharded))
    assert one.keys() == other.keys()
    assert list(one["state_dict"]) == list(other["state_dict"])
    assert list(one[CURRENT]) == list(other[CURRENT])
    assert one["optimizer_states"][0]["param_groups"] == other["optimizer_states"][0]["param_groups"]
    assert farthest(plain, sharded) < 1e-5
    assert farthest(trained(shards, tmp_path / "start", *ADAM, "max_steps=1"), plain) > 1e-3
    half = "checkpoints/step_000002.ckpt"
    again = trained(shards, tmp_path / "again", *ADAM, *CLIPPED, *ALONE, f"resume={sharded / half}")
    assert same(last(again), last(sharded))
    whole = trained(shards, tmp_path / "rest", *ADAM, *CLIPPED, f"resume={sharded / half}")
    parts = trained(shards, tmp_path / "parts", *ADAM, *CLIPPED, *ALONE, f"resume={plain / half}")
    assert farthest(whole, plain) < 1e-5
    assert farthest(parts, plain) < 1e-5


def test_a_speech_network_is_not_sharded(shards, tmp_path, one_rank):
    with pytest.raises(ValueError, match="trainer=sharded cuts the networks of stages 1 and 2, not those of"):
        trained(shards, tmp_path, "experiment=audio2mesh", *PLAIN[1:], *ALONE, "max_steps=1", plain=())


def test_compiled_layers_are_not_sharded(shards, tmp_path, one_rank):
    with pytest.raises(ValueError, match=r"^compile must be null with trainer=sharded"):
        trained(shards, tmp_path, *ALONE, "compile=eager")


def test_an_optimizer_that_knows_no_parts_is_refused(shards, tmp_path, one_rank):
    foreign = [*DESCENT, f"optimizer._target_={__name__}.Foreign"]
    with pytest.raises(
        ValueError, match=r"^optimizer \(Foreign\) must be one of torch\.optim with trainer=sharded"
    ):
        trained(shards, tmp_path, *foreign, *ALONE)


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("stage", ["stage1", "stage2"])
def test_two_sharded_ranks_are_one_process_with_the_doubled_batch(shards, tmp_path, stage, checkpointing):
    chosen = [*(MOTION if stage == "stage2" else ()), *DESCENT, *CLIPPED]
    chosen += [f"gradient_checkpointing={checkpointing}", "learning_rate=10"]
    finished(in_a_process(shards, tmp_path / "ranks", *chosen, *RANKS))
    whole = trained(shards, tmp_path / "whole", *chosen, "batch_size=2")
    start = trained(shards, tmp_path / "start", *chosen, "batch_size=2", "max_steps=1", "learning_rate=0")
    assert farthest(tmp_path / "ranks", whole) < 1e-5
    assert farthest(start, whole) > 1e-3
    ours, theirs = open_weights(tmp_path / "ranks"), open_weights(whole)
    for name in theirs.networks:
        shapes = [{key: value.shape for key, value in run.states[name].items()} for run in (ours, theirs)]
        assert shapes[0] == shapes[1]
    assert figures(tmp_path / "ranks") == pytest.approx(figures(whole), rel=1e-4)  # one clip, on one rank


@pytest.mark.slow
def test_sharded_ranks_stop_when_one_is_asked_to_and_go_on_to_the_bit(shards, tmp_path):
    run, chosen = tmp_path / "run", [*ADAM, *RANKS, "+callbacks.stop_on_signal.agree_every=1"]
    finished(in_a_process(shards, tmp_path / "whole", *chosen))
    script = tmp_path / "signalled.py"
    script.write_text(SIGNALLED.format(root=str(ROOT)))
    finished(in_a_process(shards, run, *chosen, script=script))
    assert torch.load(last(run), weights_only=True)["global_step"] == 1
    assert not (run / "metrics.json").exists()
    finished(in_a_process(shards, run, *chosen, f"resume={run}"))
    assert same(last(run), last(tmp_path / "whole"))


@pytest.mark.slow
@pytest.mark.parametrize("guider", ["reference_aware", "published_running"])
def test_sharded_ranks_gather_weights_in_bfloat16_and_keep_parts_in_float32(shards, tmp_path, guider):
    """Where all of a BatchNorm is in float32: torch takes no others beside its running statistics."""
    run = tmp_path / "run"
    sizes = (f"pose_guider={guider}", "sizes.unet.block_out_channels=[32,32]")
    finished(in_a_process(shards, run, *ADAM, *RANKS, *sizes, "trainer.precision=bf16-mixed"))
    kept = torch.load(last(run), weights_only=True)
    weights = [weight for name, weight in kept["state_dict"].items() if "num_batches" not in name]
    assert {weight.dtype for weight in weights} == {torch.float32}
    state = kept["optimizer_states"][0]["state"]
    assert {value["exp_avg"].dtype for value in state.values()} == {torch.float32}
    assert figures(run)["val/loss"] < 2
