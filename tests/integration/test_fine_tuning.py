"""Published weights, fine-tuned to one person as README says: step one, then step two, into one folder."""

import csv
import shutil
from dataclasses import replace

import pytest
import torch
from entries import TINY, composed
from published_folder import HEADS

from aniportrait.checkpoints.store import open_weights
from aniportrait.cli.convert import convert
from aniportrait.cli.train import train
from aniportrait.data.shards import write_shards
from aniportrait.data.synthetic import SyntheticTalkers

TRAINED = {"reference_net", "pose_guider", "denoising_unet"}
SETTINGS = [
    *(setting for setting in TINY if setting != "model=tiny"),
    *("pose_guider=published_running", "image_size=64", "motion_frames=4", "paths.pretrained=/nowhere"),
    *("num_workers=0", "batch_size=2", "warmup_steps=1", "ema_decay=0.9", "validation.sampling_steps=1"),
]


@pytest.fixture(scope="module")
def person(tmp_path_factory):
    """One person's clips as prepare.py shares out files of a folder: two to train on, one held out."""
    folder = tmp_path_factory.mktemp("person") / "shards"
    talkers = SyntheticTalkers(identities=1, clips_per_identity=3, seconds=1.0, image_size=64, workers=1)
    splits = ("train", "train", "val")
    clips = [
        replace(clip, meta=replace(clip.meta, identity=clip.meta.key, split=split))
        for clip, split in zip(talkers.clips(), splits, strict=True)
    ]
    assert len({clip.meta.source.rpartition(":")[0] for clip in clips}) == 1, "one person"
    write_shards(clips, folder, talkers.fps, talkers.image_size)
    return folder


@pytest.fixture
def weights(published, tmp_path):
    """The published weights as our folder, the PoseGuider with the statistics of its training."""
    out = tmp_path / "weights"
    running = "guider_statistics=running"
    with composed("convert", f"published={published}", f"out={out}", HEADS, running) as config:
        convert(config)
    return out


def fine_tuned(experiment, person, folder, out, *settings):
    """Train from a weights folder into the same folder; the validation losses on the way."""
    out.mkdir()
    paths = (f"weights={folder}", f"export={folder}", f"data.folder={person}", f"out={out}")
    with composed("train", f"experiment={experiment}", *SETTINGS, *paths, *settings, out=out) as config:
        train(config)
    with open(out / "csv" / "metrics.csv") as file:
        return [float(row["val/loss"]) for row in csv.DictReader(file) if row.get("val/loss")]


def changed(before, after):
    """Names of the networks with a weight that differs."""
    return {
        name
        for name in before.networks
        for ours, theirs in [(before.states[name], after.states[name])]  # each time, the file is read
        if any(not torch.equal(value, theirs[key]) for key, value in ours.items())
    }


def test_both_steps_are_fine_tuned_to_one_person_from_published_weights(weights, person, tmp_path):
    original = shutil.copytree(weights, tmp_path / "original")
    losses = fine_tuned(
        *("stage1_reference", person, weights, tmp_path / "stage1"),
        *("max_steps=40", "validation.every=10", "learning_rate=1e-3"),
    )
    assert losses[-1] < 0.8 * losses[0], losses
    between = shutil.copytree(weights, tmp_path / "between")
    assert set(open_weights(between).networks) == set(open_weights(original).networks)
    assert changed(open_weights(original), open_weights(between)) == TRAINED
    fine_tuned("stage2_motion", person, weights, tmp_path / "stage2", "max_steps=2", "validation.every=2")
    assert changed(open_weights(between), open_weights(weights)) == {"motion_module"}
    cards = [open_weights(weights).card(name)["choices"] for name in (*TRAINED, "motion_module")]
    assert {(card["pose_guider"], card["noise_schedule"]) for card in cards} == {
        ("published_running", "scaled_linear")
    }
