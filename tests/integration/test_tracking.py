"""What a run says of itself while it trains, and that watching it changes nothing."""

import csv
import logging
import shutil

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_runs import DESCENT, PLAIN, same, trained, validations

from aniportrait.data.media import probe, read_video
from aniportrait.models.pose_guider import ReferenceAwarePoseGuider
from aniportrait.training.callbacks.progress_bar import StepProgressBar

EVERY_STEP = ("trainer.log_every_n_steps=1", "trainer.gradient_clip_val=null")
MOTION = [setting.replace("stage1_reference", "stage2_motion") for setting in PLAIN]
MOTION.append("sizes.motion.motion_norm_num_groups=8")
SILENT = ("callbacks.gradient_norms=null", "callbacks.throughput=null", "callbacks.condition_gaps=null")


@pytest.fixture(scope="module")
def two_to_validate(shards, tmp_path_factory):
    """The test's clip is one more to validate on."""
    folder = tmp_path_factory.mktemp("two") / "shards"
    shutil.copytree(shards, folder)
    index = folder / "index.json"
    index.write_text(index.read_text().replace('"split": "test"', '"split": "val"'))
    return folder


def column(run, name):
    with open(run / "csv" / "metrics.csv") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


def test_gradient_norms_are_of_the_whole_accumulated_batch(shards, tmp_path):
    halves = trained(
        shards,
        tmp_path / "halves",
        *DESCENT,
        *EVERY_STEP,
        "batch_size=2",
        "trainer.accumulate_grad_batches=2",
    )
    whole = trained(shards, tmp_path / "whole", *DESCENT, *EVERY_STEP, "batch_size=4")
    for network in ("total", "denoising_unet", "reference_net", "pose_guider"):
        norms = column(whole, f"gradient_norm/{network}")
        assert len(norms) == 3
        assert column(halves, f"gradient_norm/{network}") == pytest.approx(norms, rel=1e-4), network


def test_gradient_norms_are_taken_before_they_are_clipped(shards, tmp_path):
    first = ("max_steps=1", "batch_size=2", "trainer.log_every_n_steps=1", *DESCENT)
    free = column(trained(shards, tmp_path / "free", *first), "gradient_norm/total")
    tight = trained(shards, tmp_path / "tight", *first, "trainer.gradient_clip_val=1e-3")
    assert column(tight, "gradient_norm/total") == free
    assert free[0] > 1e-2


def test_watching_a_training_does_not_change_it(shards, tmp_path):
    steps = (
        "max_steps=2",
        "batch_size=2",
        "callbacks.checkpoint.every_n_train_steps=1",
        "validation.every=1",
    )
    steps += ("trainer.log_every_n_steps=1",)
    watched = trained(shards, tmp_path / "watched", *steps)
    alone = trained(shards, tmp_path / "alone", *steps, *SILENT)
    assert same(watched / "checkpoints" / "last.ckpt", alone / "checkpoints" / "last.ckpt")
    assert column(watched, "throughput/of_matrix_rate")
    assert 0 < column(watched, "throughput/of_matrix_rate")[-1] < 2
    assert 0.1 < column(watched, "memory/peak_resident_gib")[-1] < 64


def test_landmarks_that_are_ignored_have_no_gap_and_the_log_says_so(
    two_to_validate, tmp_path, monkeypatch, caplog
):
    """Those of a PoseGuider that says nothing are ignored exactly."""
    whole = ReferenceAwarePoseGuider.forward
    monkeypatch.setattr(
        ReferenceAwarePoseGuider, "forward", lambda *args: tuple(0 * part for part in whole(*args))
    )
    run = trained(two_to_validate, tmp_path, "max_steps=3", "batch_size=1", "validation.every=1")
    assert set(column(run, "val/gap_landmarks")) == {0.0}
    assert all(gap != 0 for gap in column(run, "val/gap_reference"))
    assert any("val/gap_landmarks was 0, 0, 0" in record.getMessage() for record in caplog.records)


def test_one_validation_clip_has_no_gap_to_another_and_the_log_says_so(shards, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        run = trained(shards, tmp_path, "max_steps=2", "batch_size=2", "validation.every=1")
    said = [
        record.getMessage() for record in caplog.records if "no val/gap_* is measured" in record.getMessage()
    ]
    assert len(said) == 1
    assert "val/gap_reference" not in (run / "csv" / "metrics.csv").read_text()
    assert "nan" not in (run / "csv" / "metrics.csv").read_text()


def test_stage_2_films_its_samples_beside_the_truth_and_tensorboard_shows_them(shards, tmp_path):
    run = trained(
        shards, tmp_path, "max_steps=1", "batch_size=1", "motion_frames=8", "logger=tensorboard", plain=MOTION
    )
    film = run / "samples" / "step_000001.mp4"
    frames = list(read_video(film, fps=None))
    assert (len(frames), frames[0].shape, probe(film).fps) == (8, (64, 4 * 64, 3), 25)
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0}).Reload()
    assert events.Images("val/samples_film")[0].encoded_image_string.startswith(b"GIF89a")
    assert (events.Images("val/samples_film")[0].height, events.Images("val/samples_film")[0].width) == (
        64,
        256,
    )
    assert "gradient_norm/motion_modules" not in events.Tags()["scalars"]  # one step, logged every 10
    assert "seed: 42" in (run / "tensorboard" / "hparams.yaml").read_text()


def test_a_run_that_goes_on_in_its_folder_keeps_its_curve(shards, tmp_path):
    steps = (
        "batch_size=1",
        "lr_schedule=constant",
        "validation.every=2",
        "callbacks.checkpoint.every_n_train_steps=2",
        *EVERY_STEP,
    )
    whole = trained(shards, tmp_path / "whole", *steps, "max_steps=4")
    run = trained(shards, tmp_path / "run", *steps, "max_steps=2")
    trained(shards, run, *steps, "max_steps=4", f"resume={run}")
    assert column(run, "loss/total") == column(whole, "loss/total")
    assert len(column(run, "loss/total")) == 4
    assert set(validations(run)) >= set(validations(whole))


def test_validations_in_the_middle_of_an_accumulated_step_are_refused(shards, tmp_path):
    settings = ("validation.every=5", "trainer.accumulate_grad_batches=2")
    with pytest.raises(
        ValueError, match=r"^validation\.every \(5 batches\) must be a multiple of trainer\.acc"
    ):
        trained(shards, tmp_path, *settings)


def test_the_config_of_a_run_and_the_state_of_its_code_are_its_hyper_parameters(
    shards, tmp_path, monkeypatch
):
    import aniportrait.cli.train as entry

    monkeypatch.setattr(entry, "save_git_state", lambda run: {"commit": "abc", "dirty": True})
    run = trained(shards, tmp_path, "max_steps=1", "batch_size=1")
    told = (run / "csv" / "hparams.yaml").read_text()
    assert "commit: abc" in told
    assert "max_steps: 1" in told


def test_the_loss_stands_beside_the_bar_and_is_not_waited_for_at_every_step(
    shards, tmp_path, monkeypatch, caplog
):
    """Lightning turns what is logged with prog_bar=True into a number after each batch, on every rank."""
    shown, waited_for = [], set()
    whole = StepProgressBar.get_metrics

    def watched(bar, trainer, module):
        waited_for.update(trainer.progress_bar_metrics)
        shown.append(whole(bar, trainer, module))
        return shown[-1]

    monkeypatch.setattr(StepProgressBar, "get_metrics", watched)
    bar = f"callbacks.progress={{_target_: {StepProgressBar.__module__}.StepProgressBar, refresh_rate: 1}}"
    steps = ("max_steps=4", "batch_size=1", "trainer.log_every_n_steps=2", "trainer.enable_progress_bar=true")
    with caplog.at_level(logging.INFO):
        run = trained(shards, tmp_path, *steps, bar, "callbacks.progress_lines.every_seconds=0")
    assert {round(figures["loss/total"], 6) for figures in shown if "loss/total" in figures} == {
        round(loss, 6) for loss in column(run, "loss/total")
    }
    assert "loss/total" not in waited_for
    said = [record.getMessage() for record in caplog.records if "step 4 of 4" in record.getMessage()]
    assert "loss/total" in said[0]
