"""Many runs by one command: where they write, what they say to the sweep, and how one is done again alone."""

import json
from pathlib import Path

import pytest
import yaml
from agent_command import SWEEP, agent_command
from entries import CONF, composed
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from aniportrait.cli import schema
from aniportrait.cli.alone import command_of, figure_of, recorded_overrides
from aniportrait.cli.study import sqlite

MISSING = "it is not installed (make sweeps)"


@pytest.mark.parametrize("name", ["new/study.db", "a (new) one, x=1/deep/study.db"])
def test_the_folder_of_a_study_that_does_not_exist_yet_is_made(name, tmp_path):
    assert sqlite(str(tmp_path / name)) == f"sqlite:///{tmp_path}/{name}"
    assert (tmp_path / name).parent.is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        sqlite(str(tmp_path / "file" / "study.db"))


@pytest.mark.parametrize("experiment", ["stage1_reference", "stage2_motion", "stage1_published"])
def test_a_portrait_search_keeps_one_study_beside_the_folders_of_its_sweeps(experiment):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason=MISSING)
    schema.register()
    words = (f"experiment={experiment}", "hparams_search=optuna", "paths.output=out")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", overrides=list(words), return_hydra_config=True)
    sweeper, sweep = config.hydra.sweeper, Path(config.hydra.sweep.dir)
    assert sweeper.storage.file == f"out/{experiment}/study/study.db"
    assert sweep.parent == Path(sweeper.storage.file).parent
    assert (config.monitor, config.callbacks.hopeless.monitor) == ("val/face_l1", "val/face_l1")
    assert (sweeper.max_failure_rate, sweeper.sampler.seed) == (1.0, None)
    for key in sweeper.params:
        assert OmegaConf.select(config, key) is not None, key


def test_the_command_of_a_run_means_the_folder_whatever_its_name(tmp_path):
    folder = tmp_path / 'odd (1), a=b "c"'
    *_, directory = command_of(["seed=1"], folder)
    override = OverridesParser.create().parse_override(directory)
    assert override.key_or_group == "hydra.run.dir"
    assert override.value() == str(folder)


def test_a_folder_says_what_its_run_was_started_with(tmp_path):
    (tmp_path / ".hydra").mkdir()
    words = ["experiment=stage1_reference", "out=elsewhere", 'data.folder="my shards (1)"', "seed=3"]
    (tmp_path / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(words))
    assert recorded_overrides(tmp_path) == [words[0], *words[2:]]
    with pytest.raises(FileNotFoundError, match="must be the folder of a run"):
        recorded_overrides(tmp_path / "absent")


@pytest.mark.parametrize(
    ("metrics", "figure"), [(None, None), ({"val/loss": 1.0}, None), ({"val/face_l1": 0.25}, 0.25)]
)
def test_a_run_tells_the_sweep_its_figure_if_it_came_to_one(metrics, figure, tmp_path):
    if metrics is not None:
        (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    assert figure_of(tmp_path, "val/face_l1") == figure


def test_a_figure_that_is_no_number_fails_the_run_rather_than_the_sweep(tmp_path):
    (tmp_path / "metrics.json").write_text(json.dumps({"val/face_l1": float("nan")}))
    with pytest.raises(ValueError, match=r"val/face_l1 \(nan\) of .* must be a number"):
        figure_of(tmp_path, "val/face_l1")


def test_the_agents_command_is_one_that_train_understands():
    sweep = yaml.safe_load(SWEEP.read_text())
    chosen = {
        name: space.get("min", space.get("values", [None])[-1]) for name, space in sweep["parameters"].items()
    }
    env, python, program, *overrides = agent_command(chosen)
    assert (env, python, program) == ("/usr/bin/env", "python", "train.py")
    assert (CONF.parent / program).is_file()
    with composed("train", *overrides) as config:
        for name, value in chosen.items():
            assert OmegaConf.select(config, name) == value
        assert config.monitor == sweep["metric"]["name"]
        assert {"min": "minimize", "max": "maximize"}[config.monitor_mode] == sweep["metric"]["goal"]
        assert config.logger._target_.endswith("WandbLogger")
