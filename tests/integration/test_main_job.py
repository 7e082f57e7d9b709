"""The whole road on four drawn talkers: shards, four trainings, evaluation, a talking portrait, a reenacted one."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from entries import composed
from main_job import EXPERIMENTS, run_training
from scipy.io import wavfile
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from aniportrait.checkpoints.store import open_weights
from aniportrait.cli.animate import animate
from aniportrait.cli.evaluate import evaluate
from aniportrait.cli.pipelines import portrait_pipeline
from aniportrait.data.clip_codec import decode_frames
from aniportrait.data.media import probe, read_video
from aniportrait.data.shards import ShardIndex, read_sample
from aniportrait.data.sound import read_audio
from aniportrait.pipelines.sampling_settings import SamplingSettings

ROOT = Path(__file__).parents[2]
KEEP_ALL = "callbacks.checkpoint.save_top_k=-1"


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_a_run_leaves_config_metrics_log_checkpoint_and_weights(trained, experiment):
    run = trained / experiment
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["steps"] == 2
    assert any(name.startswith("val/") for name in metrics)
    for file in ("config.yaml", "csv/metrics.csv", "checkpoints/last.ckpt", "weights/model.json"):
        assert (run / file).is_file(), file


def test_a_run_its_checkpoint_and_its_weights_folder_hold_the_same_weights(trained):
    run = trained / "audio2mesh"
    states = [
        open_weights(path).states["audio2mesh"]
        for path in (run, run / "weights", run / "checkpoints" / "last.ckpt", trained / "weights")
    ]
    for state in states[1:]:
        assert all(torch.equal(value, state[key]) for key, value in states[0].items())


def test_stage_2_trains_the_motion_modules_alone(trained):
    before, after = open_weights(trained / "stage1_reference"), open_weights(trained / "stage2_motion")
    for name in ("reference_net", "pose_guider", "denoising_unet"):
        assert all(torch.equal(value, after.states[name][key]) for key, value in before.states[name].items())
    assert any(
        value.abs().max() > 0 for key, value in after.states["motion_module"].items() if "proj_out" in key
    )


def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(shards, tmp_path):
    run_training("audio2mesh", shards, tmp_path / "whole", "max_steps=4", "validation.every=2", KEEP_ALL)
    middle = tmp_path / "step_000002.ckpt"
    (tmp_path / "whole" / "checkpoints" / middle.name).rename(middle)
    run_training(
        "audio2mesh", shards, tmp_path / "rest", "max_steps=4", "validation.every=2", f"resume={middle}"
    )
    whole, rest = (open_weights(tmp_path / name).states["audio2mesh"] for name in ("whole", "rest"))
    assert all(torch.equal(value, rest[key]) for key, value in whole.items())
    logs = (
        (tmp_path / name / "csv" / "metrics.csv").read_text().splitlines()[1:] for name in ("whole", "rest")
    )
    steps = [[int(line.split(",")[1]) for line in log] for log in logs]
    assert steps == [[1, 3, 4], [3, 4]], "the first half was not trained again"


@pytest.fixture(scope="session")
def evaluated(trained, shards, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("evaluated")
    settings = [f"weights={trained}/weights", f"data.folder={shards}", f"out={out}", f"runs={trained}"]
    settings.append(f"rivals=[{trained}/audio2mesh]")
    with composed(
        "evaluate", *settings, "sampling_steps=1", "pairs_per_clip=1", "motion_clips=1", out=out
    ) as config:
        evaluate(config)
    return out


def test_the_evaluation_scores_every_network_beside_its_baselines(evaluated):
    scores = json.loads((evaluated / "results.json").read_text())["scores"]
    assert "Infinity" not in (evaluated / "results.json").read_text()
    stage2 = {"stage 2", "stage 2, flicker", "stage 2, mouth"}
    assert set(scores) == {"audio2mesh", "audio2mesh, paired", "audio2pose", "stage 1"} | stage2
    assert {"train-mean mesh", "neutral mesh", "noise floor: what the sound decides"} < set(
        scores["audio2mesh"]
    )
    assert scores["stage 1"]["floor: the autoencoder's round trip"]["face L1"]["value"] < 0.002
    lossless = scores["stage 2, mouth"]["floor: the autoencoder's round trip"]
    assert lossless["mouth motion"]["value"] == pytest.approx(1, abs=0.01)
    # A rival is named by its card; the same weights score the same.
    assert scores["audio2mesh"]["temporal head, log_mel"] == scores["audio2mesh"]["audio2mesh"]
    paired = scores["audio2mesh, paired"]["less temporal head, log_mel"]
    assert paired["difference of mouth opening correlation"]["value"] == 0
    page = (evaluated / "report.html").read_text()
    assert all(words in page for words in ("copying the reference", "lip vertex error", "<svg"))


def test_half_precision_scores_what_full_precision_does_up_to_rounding(trained, shards, tmp_path, evaluated):
    settings = [f"weights={trained}/weights", f"data.folder={shards}", "sampling_steps=1", "pairs_per_clip=1"]
    chosen = ["precision=bf16", "only=[denoising_unet]", f"out={tmp_path}"]
    with composed("evaluate", *settings, *chosen, out=tmp_path) as config:
        evaluate(config)
    half, full = (
        json.loads((out / "results.json").read_text())["scores"]["stage 1"] for out in (tmp_path, evaluated)
    )
    assert half.keys() == full.keys()
    for name in full:
        value = full[name]["face L1"]["value"]
        assert half[name]["face L1"]["value"] == pytest.approx(value, abs=0.01), name
    assert half != full


def test_an_unknown_precision_is_refused(trained, shards, tmp_path):
    settings = [f"weights={trained}/weights", f"data.folder={shards}", "precision=bf8", f"out={tmp_path}"]
    with (
        composed("evaluate", *settings, "only=[denoising_unet]", out=tmp_path) as config,
        pytest.raises(ValueError, match=r"^precision=bf8 must be one of fp32, bf16, fp16$"),
    ):
        evaluate(config)


def test_two_sampling_seeds_show_what_the_noise_alone_changes(trained, shards, tmp_path):
    settings = [f"weights={trained}/weights", f"data.folder={shards}", "sampling_steps=2", "motion_clips=1"]
    with composed(
        "evaluate", *settings, "sampling_seeds=2", "only=[motion_module]", f"out={tmp_path}", out=tmp_path
    ) as config:
        evaluate(config)
    rows = json.loads((tmp_path / "results.json").read_text())["scores"]["stage 2, trembling"]
    fresh, shared = rows["stage 1, frame by frame"], rows["stage 1, the same noise for all frames"]
    assert fresh["trembling, whole"]["value"] > shared["trembling, whole"]["value"] > 0
    assert fresh["trembling, whole, of frame by frame's"] == 1
    assert rows["truth"].get("trembling, whole") is None


def test_training_clips_are_scored_in_what_was_left_out_by_the_networks_that_leave_it_out(
    trained, shards, tmp_path, caplog
):
    settings = [f"weights={trained}/weights", f"data.folder={shards}", "split=train", "sampling_steps=1"]
    seeds = ["sampling_seeds=2", f"out={tmp_path}", "logger=tensorboard"]
    with composed("evaluate", *settings, *seeds, "only=[audio2mesh,denoising_unet]", out=tmp_path) as config:
        evaluate(config)
    results = json.loads((tmp_path / "results.json").read_text())
    scores = results["scores"]
    assert set(scores) == {"stage 1"}
    assert "2 sampling seed(s)" in results["notes"]["stage 1"]
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    logged = events.Scalars("eval/stage 1/stage 1/face L1")[0].value
    assert logged == pytest.approx(scores["stage 1"]["stage 1"]["face L1"]["value"])
    assert len(scores["stage 1"]["stage 1"]["face L1"]["sampling seeds"]) == 2
    assert "sampling seeds" not in scores["stage 1"]["copying the reference"]["face L1"]
    assert scores["stage 1"]["truth"]["face L1"]["value"] == 0
    assert scores["stage 1"]["copying the reference"]["of the reference's"] == 1
    assert "was not trained with data.train_share=0.8" in caplog.text
    for unfit, words in (("only=[lips]", "only=lips must name"), ("only=[audio2mesh]", "split=train")):
        with composed("evaluate", *settings, unfit) as config, pytest.raises(ValueError, match=words):
            evaluate(config)


def test_samplings_from_several_noises_are_those_of_each_alone(trained, shards):
    sample = read_sample(shards, ShardIndex.load(shards).samples[0])
    portrait, points = decode_frames(sample.video, [0])[0], sample.track.landmarks
    with composed("evaluate", f"weights={trained}/weights") as config:
        pipeline = portrait_pipeline(open_weights(config.weights), config, motion=False)
    settings = SamplingSettings(steps=2, guidance_scale=2.0, seed=8)
    both = pipeline.samplings(portrait, points[0], points[:3], settings, seeds=[7, 8]).astype(int)
    alone = pipeline(portrait, points[0], points[:3], settings).astype(int)
    assert np.abs(both[1] - alone).max() <= 1
    assert np.abs(both[0] - alone).max() > 1


def test_a_portrait_speaks_as_long_as_the_voice_and_with_its_sound(trained, evaluated, tmp_path):
    rate = 16_000
    speech = read_audio(evaluated / "samples" / "voice.wav")[: int(0.7 * rate)]
    voice, out = tmp_path / "a voice (1).wav", tmp_path / "speaking, once.mp4"
    wavfile.write(voice, rate, (speech * 32767).astype(np.int16))
    settings = [
        f"weights={trained}/weights",
        f'portrait="{evaluated}/samples/portrait.png"',
        f'audio="{voice}"',
    ]
    with composed("animate", *settings, f'out="{out}"', "steps=1") as config:
        animate(config)
    frames = list(read_video(out))
    assert abs(len(frames) - 0.7 * 25) <= 1
    assert probe(out).fps == 25
    heard = read_audio(out)[: len(speech)]
    assert np.corrcoef(heard, speech[: len(heard)])[0, 1] > 0.95


def test_a_portrait_follows_a_driving_video(trained, evaluated, tmp_path):
    out = tmp_path / "reenacted.mp4"
    settings = [f"weights={trained}/weights", f"portrait={evaluated}/samples/portrait.png", f"out={out}"]
    driving = f"driving={evaluated}/samples/truth.mp4"
    with composed("animate", *settings, driving, "steps=1", "duration=0.4") as config:
        animate(config)
    assert len(list(read_video(out))) == 10
