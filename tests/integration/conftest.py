"""What the long roads start from, made once: drawn talkers, a published folder, and our weights folder made of it."""

from pathlib import Path

import pytest
from entries import composed
from main_job import EXPERIMENTS, run_training
from published_folder import HEADS, write_published_folder

from aniportrait.cli.convert import convert
from aniportrait.data.synthetic import SyntheticTalkers


@pytest.fixture(scope="session")
def shards(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("talkers") / "shards"
    SyntheticTalkers(identities=4, clips_per_identity=1, seconds=1.0, workers=1).write(folder)
    return folder


@pytest.fixture(scope="session")
def published(tmp_path_factory) -> Path:
    return write_published_folder(tmp_path_factory.mktemp("original") / "pretrained_model")


@pytest.fixture(scope="session")
def imported(published, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("imported") / "aniportrait"
    with composed("convert", f"published={published}", f"out={out}", HEADS) as config:
        convert(config)
    return out


@pytest.fixture(scope="session")
def trained(shards, tmp_path_factory) -> Path:
    """A folder with a run per experiment and the weights of all in `weights`."""
    folder = tmp_path_factory.mktemp("trained")
    for experiment in EXPERIMENTS:
        extra = [f"weights={folder}/weights"] if experiment == "stage2_motion" else []
        run_training(experiment, shards, folder / experiment, f"export={folder}/weights", *extra)
    return folder
