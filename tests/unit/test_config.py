"""Composition: experiments win over defaults, the command line over experiments; a model brings what belongs to it."""

import pytest
from entries import composed
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf

EXPERIMENTS = ("audio2mesh", "audio2pose", "stage1_reference", "stage2_motion")
PARTS = {
    "sd15": ("SDVae", "ClipImageEncoder", "Wav2Vec2Encoder", "v_prediction"),
    "tiny": ("SpaceToDepth", "ThumbnailEncoder", "LogMelEncoder", "sample"),
}


@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.parametrize("model", PARTS)
def test_a_model_brings_its_encoders_and_schedule_into_every_experiment(experiment, model):
    with composed("train", f"experiment={experiment}", f"model={model}") as config:
        autoencoder, image_encoder, audio_encoder, prediction = PARTS[model]
        assert config.autoencoder._target_.endswith(autoencoder)
        assert config.image_encoder._target_.endswith(image_encoder)
        assert config.audio_encoder._target_.endswith(audio_encoder)
        assert config.noise_schedule.get("prediction_type", "v_prediction") == prediction
        OmegaConf.resolve(config.networks)
        OmegaConf.resolve(config.module)


def test_an_experiment_wins_over_the_defaults_and_the_command_line_over_it():
    with composed("train", "experiment=stage2_motion") as config:
        assert (config.name, config.task, config.trainer.devices) == ("stage2_motion", "stage2", 4)
        assert config.logger._target_.endswith("WandbLogger")
    with composed("train", "experiment=stage2_motion", "trainer=cpu", "logger=csv", "seed=7") as config:
        assert (config.trainer.accelerator, config.seed) == ("cpu", 7)
        assert not config.logger


@pytest.mark.parametrize("model", PARTS)
def test_few_clips_bring_their_encoder_and_head_whatever_the_model(model):
    with composed("train", "experiment=audio2mesh_few_clips", f"model={model}") as config:
        assert config.audio_encoder._target_.endswith("MoonshineEncoder")
        assert config.mesh_head.in_width == 288
        assert (config.mesh_head.width, config.max_steps, config.datamodule.start_step) == (64, 400, 25)
    rival = ("audio_encoder=log_mel", "mesh_head=published", "module.loss.lip_weight=0")
    with composed("train", "experiment=audio2mesh_few_clips", f"model={model}", *rival) as config:
        assert (config.mesh_head.in_width, config.module.loss.lip_weight) == (128, 0)
        OmegaConf.resolve(config.networks)


def test_stage_2_composes_the_papers_setting():
    with composed("train", "experiment=stage2_motion") as config:
        assert (config.image_size, config.datamodule.frames, config.batch_size) == (512, 16, 1)
        assert list(config.sizes.unet.block_out_channels) == [320, 640, 1280, 1280]
        assert (config.trainer.strategy, config.trainer.precision) == ("ddp", "bf16-mixed")


def test_a_choice_of_the_model_can_be_overridden():
    with composed("train", "experiment=stage1_reference", "model=tiny", "autoencoder=taef2") as config:
        assert config.networks.reference_net.in_channels == 32


@pytest.mark.parametrize("override", ["batchsize=4", "trainer.max_step=3"])
def test_an_unknown_key_fails_while_composing(override):
    with pytest.raises(ConfigCompositionException), composed("train", "experiment=audio2mesh", override):
        pass


def test_a_value_of_the_wrong_type_fails_while_composing():
    with pytest.raises(Exception, match="seed"), composed("train", "experiment=audio2mesh", "seed=often"):
        pass


@pytest.mark.parametrize("debug", ["fast_dev_run", "overfit", "profiler"])
def test_debug_settings_reach_the_trainer(debug):
    with composed("train", "experiment=audio2mesh", "model=tiny", "trainer=cpu", f"debug={debug}") as config:
        node = {"fast_dev_run": "fast_dev_run", "overfit": "overfit_batches", "profiler": "profiler"}[debug]
        assert config.trainer[node]


@pytest.mark.parametrize("model", PARTS)
def test_the_published_guider_and_windows_are_choices(model):
    choices = ("pose_guider=published", "windows=closed_loop")
    with composed("train", "experiment=stage1_reference", f"model={model}", *choices) as config:
        assert config.windows._target_.endswith("ClosedLoopWindows")
        assert (config.windows.context_length, config.windows.context_overlap) == (16, 4)
        guider = config.networks.pose_guider
        assert (guider.statistics, list(guider.input_range)) == ("batch", [-1.0, 509.0])
    running = "pose_guider=published_running"
    with composed("train", "experiment=stage1_reference", f"model={model}", running) as config:
        guider = config.networks.pose_guider
        assert (guider.statistics, list(guider.input_range)) == ("running", [-1.0, 1.0])
        assert config.windows._target_.endswith("OpenWindows")
