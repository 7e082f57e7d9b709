"""What a run has written when it ends, however it came to its end."""

import json
import logging
import shutil
import signal

import pytest
import torch
from training_runs import figures, same, trained

from aniportrait.checkpoints.store import open_weights
from aniportrait.data.shards import ShardIndex
from aniportrait.data.synthetic import SyntheticTalkers
from aniportrait.training.callbacks.ema import CURRENT
from aniportrait.training.callbacks.stop_on_signal import SIGNALS

AVERAGED = ("batch_size=1", "ema_decay=0.75", "lr_schedule=constant")


def checkpoint(run):
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)


@pytest.fixture(scope="module")
def ended(shards, tmp_path_factory):
    """A run of two steps, which validates after the second alone."""
    before = [signal.getsignal(number) for number in SIGNALS]
    run = trained(shards, tmp_path_factory.mktemp("ended"), *AVERAGED, "max_steps=2", "validation.every=2")
    assert [signal.getsignal(number) for number in SIGNALS] == before, "they are Lightning's no longer"
    return run


def test_a_run_killed_after_its_last_step_ends_with_the_average_when_it_is_resumed(ended, shards, tmp_path):
    run = shutil.copytree(ended, tmp_path / "run")
    shutil.rmtree(run / "weights")
    (run / "metrics.json").unlink()
    trained(shards, run, *AVERAGED, "max_steps=2", "validation.every=2", f"resume={run}")
    assert figures(run) == figures(ended)
    before, after = open_weights(ended / "weights").states, open_weights(run / "weights").states
    assert all(
        torch.equal(weight, after[name][key])
        for name, state in before.items()
        for key, weight in state.items()
    )


def test_the_checkpoint_of_a_short_run_holds_weights_and_average_and_a_longer_one_goes_on(shards, tmp_path):
    """None was due before its end."""
    run = trained(shards, tmp_path / "run", *AVERAGED, "max_steps=2")
    kept = checkpoint(run)
    assert any(not torch.equal(weight, kept["state_dict"][name]) for name, weight in kept[CURRENT].items())
    trained(shards, run, *AVERAGED, "max_steps=3", f"resume={run}")
    whole = trained(shards, tmp_path / "whole", *AVERAGED, "max_steps=3")
    assert same(run / "checkpoints" / "last.ckpt", whole / "checkpoints" / "last.ckpt")


def test_the_last_checkpoint_is_of_the_last_step(shards, tmp_path):
    """One was due before, and none then."""
    seldom = ("callbacks.checkpoint.every_n_train_steps=2", "validation.every=2")
    run = trained(shards, tmp_path / "run", *AVERAGED, "max_steps=3", *seldom)
    assert checkpoint(run)["global_step"] == 3
    trained(shards, run, *AVERAGED, "max_steps=4", *seldom, f"resume={run}")
    whole = trained(shards, tmp_path / "whole", *AVERAGED, "max_steps=4", *seldom)
    assert same(run / "checkpoints" / "last.ckpt", whole / "checkpoints" / "last.ckpt")


def test_the_last_checkpoint_knows_the_figure_of_the_validation_after_its_step(ended):
    states = checkpoint(ended)["callbacks"]
    (best,) = (state for name, state in states.items() if "'monitor': 'val/loss'" in name)
    assert best["best_model_score"].item() == pytest.approx(figures(ended)["val/loss"])
    assert [file.name for file in sorted((ended / "checkpoints").iterdir())] == ["best.ckpt", "last.ckpt"]


def test_without_clips_to_validate_on_the_weights_are_written_all_the_same(tmp_path, caplog):
    SyntheticTalkers(identities=1, clips_per_identity=1, seconds=1.0, workers=1).write(tmp_path / "one")
    assert not ShardIndex.load(tmp_path / "one").of_split("val")
    with caplog.at_level(logging.WARNING):
        run = trained(tmp_path / "one", tmp_path / "run", "batch_size=1", "max_steps=1")
    assert "nothing was validated" in caplog.text
    assert json.loads((run / "metrics.json").read_text())["steps"] == 1
    assert open_weights(run / "weights").networks


def test_a_dry_run_leaves_the_checkpoint_that_was_there(ended, shards, tmp_path):
    run = shutil.copytree(ended, tmp_path / "run")
    before = (run / "checkpoints" / "last.ckpt").read_bytes()
    trained(shards, run, *AVERAGED, "debug=fast_dev_run")
    assert (run / "checkpoints" / "last.ckpt").read_bytes() == before


def test_another_learning_rate_is_not_silently_left_out_of_a_resumed_run(ended, shards, tmp_path, caplog):
    resumed = ("max_steps=2", f"resume={ended}")
    with caplog.at_level(logging.WARNING):
        trained(shards, tmp_path / "same", *AVERAGED, *resumed)
        assert "learning_rate" not in caplog.text
        trained(shards, tmp_path / "other", *AVERAGED, *resumed, "learning_rate=0.5")
    assert "learning_rate=0.5 is not used" in caplog.text


def test_weights_are_no_checkpoint_to_resume(ended, shards, tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match="must name a run or its checkpoint"):
        trained(shards, tmp_path / "run", f"resume={tmp_path}/weights.pth")
