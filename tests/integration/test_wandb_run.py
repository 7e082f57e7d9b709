"""What a run of W&B holds, offline: figures, pictures, a film, the config, the git state; and how it goes on."""

import json
import struct

import pytest
import wandb
from training_runs import PLAIN, trained
from wandb.proto.wandb_internal_pb2 import Record

STAGE2 = ["experiment=stage2_motion", *(word for word in PLAIN if not word.startswith("experiment="))]
SETTINGS = (
    "logger=wandb",
    "motion_frames=4",
    "sizes.motion.motion_norm_num_groups=8",
    "batch_size=1",
    "trainer.log_every_n_steps=1",
)


@pytest.fixture(scope="module")
def resumed(shards, tmp_path_factory):
    """The folder of a run of one step that went on to three."""
    run = tmp_path_factory.mktemp("wandb") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_SILENT", "true")
        trained(shards, run, *SETTINGS, "max_steps=1", "validation.every=1", plain=STAGE2)
        wandb.finish()
        trained(shards, run, *SETTINGS, "max_steps=3", "validation.every=1", f"resume={run}", plain=STAGE2)
        wandb.finish()
    return run


def records(folder):
    """Of a .wandb file: parts in blocks of 32 KiB, as in LevelDB's log: checksum, length, place in its record."""
    (file,) = folder.glob("*.wandb")
    data, at, record = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:  # no room for another part in this block
            at += 32768 - at % 32768
            continue
        length, place = struct.unpack_from("<HB", data, at + 4)
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if place in (1, 4):  # whole, or the last part
            yield Record.FromString(record)
            record = b""


def logged(folder):
    """Name -> figures, in order."""
    found: dict[str, list] = {}
    for record in records(folder):
        for item in record.history.item:
            name = item.key or "/".join(item.nested_key)
            found.setdefault(name, []).append(json.loads(item.value_json))
    return found


def test_a_run_holds_figures_pictures_and_a_film(resumed):
    first, second = sorted((resumed / "wandb").glob("offline-run-*"))
    figures = logged(first) | logged(second)
    assert {"loss/total", "val/loss", "val/face_l1", "gradient_norm/total", "trainer/global_step"} <= set(
        figures
    )
    assert figures["val/samples_film/_type"][0] == "videos"
    assert figures["val/samples/_type"][0] == "images/separated"
    assert list(first.rglob("media/**/*.mp4"))
    assert list(first.rglob("media/**/*.png"))


def test_a_run_knows_its_config_and_the_state_of_the_code(resumed):
    first, _ = sorted((resumed / "wandb").glob("offline-run-*"))
    told = {item.key: item.value_json for record in records(first) for item in record.config.update}
    assert json.loads(told["max_steps"]) == 1
    assert set(json.loads((resumed / "git.json").read_text())) <= set(json.loads(told["git"]))


def test_a_resumed_run_is_the_same_run(resumed):
    first, second = sorted((resumed / "wandb").glob("offline-run-*"))
    ids = {record.run.run_id for folder in (first, second) for record in records(folder) if record.run.run_id}
    assert len(ids) == 1
    assert first.name != second.name
