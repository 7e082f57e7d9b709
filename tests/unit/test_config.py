"""Composition: experiments win over defaults, the command line over experiments; a model brings what belongs to it."""

import re
import signal

import pytest
from diffusers.models.resnet import ResnetBlock2D
from entries import CONF, composed
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException
from hydra.utils import instantiate
from lightning.pytorch.strategies import ModelParallelStrategy
from omegaconf import OmegaConf

from aniportrait.checkpoints.store import Weights, WeightsError
from aniportrait.cli import schema
from aniportrait.cli.networks import card_of, fit_to_weights
from aniportrait.cli.train import build_module
from aniportrait.models.checkpointing import _Checkpointed
from aniportrait.training.callbacks.stop_on_signal import SIGNALS
from aniportrait.training.sharded_strategy import Sharded

EXPERIMENTS = ("audio2mesh", "audio2pose", "stage1_reference", "stage2_motion")
PARTS = {
    "sd15": ("SDVae", "ClipImageEncoder", "Wav2Vec2Encoder", "v_prediction", "AbsoluteLatents"),
    "tiny": ("SpaceToDepth", "ThumbnailEncoder", "LogMelEncoder", "sample", "PortraitRelativeLatents"),
}


@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.parametrize("model", PARTS)
def test_a_model_brings_its_encoders_and_schedule_into_every_experiment(experiment, model):
    with composed("train", f"experiment={experiment}", f"model={model}") as config:
        autoencoder, image_encoder, audio_encoder, prediction, latent_space = PARTS[model]
        assert config.autoencoder._target_.endswith(autoencoder)
        assert config.image_encoder._target_.endswith(image_encoder)
        assert config.audio_encoder._target_.endswith(audio_encoder)
        assert config.noise_schedule.get("prediction_type", "v_prediction") == prediction
        assert config.latent_space._target_.endswith(latent_space)
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
        assert (config.mesh_head.width, config.max_steps, config.datamodule.start_step) == (128, 400, 25)
    rival = ("audio_encoder=log_mel", "mesh_head=published", "module.loss.lip_weight=0")
    with composed("train", "experiment=audio2mesh_few_clips", f"model={model}", *rival) as config:
        assert (config.mesh_head.in_width, config.module.loss.lip_weight) == (128, 0)
        OmegaConf.resolve(config.networks)


def test_stage_2_composes_the_papers_setting():
    with composed("train", "experiment=stage2_motion") as config:
        assert (config.image_size, config.datamodule.frames, config.batch_size) == (512, 16, 1)
        assert list(config.sizes.unet.block_out_channels) == [320, 640, 1280, 1280]
        assert config.trainer.strategy._target_.endswith("DDPStrategy")
        assert config.trainer.precision == "bf16-mixed"


def test_a_choice_of_the_model_can_be_overridden():
    with composed("train", "experiment=stage1_reference", "model=tiny", "autoencoder=taef2") as config:
        assert config.networks.reference_net.in_channels == 32


@pytest.mark.parametrize("override", ["batchsize=4", "trainer.max_step=3"])
def test_an_unknown_key_fails_while_composing(override):
    with pytest.raises(ConfigCompositionException), composed("train", "experiment=audio2mesh", override):
        pass


def test_a_value_of_the_wrong_type_fails_while_composing():
    with (
        pytest.raises(ConfigCompositionException, match="seed=often"),
        composed("train", "experiment=audio2mesh", "seed=often"),
    ):
        pass


@pytest.mark.parametrize("debug", ["fast_dev_run", "overfit", "profiler"])
def test_debug_settings_reach_the_trainer(debug):
    with composed("train", "experiment=audio2mesh", "model=tiny", "trainer=cpu", f"debug={debug}") as config:
        node = {"fast_dev_run": "fast_dev_run", "overfit": "overfit_batches", "profiler": "profiler"}[debug]
        assert config.trainer[node]


def test_a_mixture_of_data_sets_reaches_the_datamodule_as_plain_folders_and_weights():
    parts = "data.folders=[{folder: data/vfhq, weight: 0.7}, {folder: 's3://b/celebv', weight: 0.3}]"
    for experiment in EXPERIMENTS:
        with composed("train", f"experiment={experiment}", "model=tiny", "data=mixture", parts) as config:
            data = instantiate(config.datamodule)
            assert data.weights == {"data/vfhq": 0.7, "s3://b/celebv": 0.3}
            assert data.max_bad == 10


@pytest.mark.parametrize("data", ["shards", "synthetic", "mixture"])
def test_every_kind_of_data_says_how_it_is_loaded(data):
    settings = ("data.flip_chance=0.5", "data.smallest_crop=0.9", "data.latents=false", "data.max_bad=3")
    with composed("train", "experiment=stage2_motion", "model=tiny", f"data={data}", *settings) as config:
        node = config.datamodule
        assert (node.flip_chance, node.smallest_crop, node.latents, node.max_bad) == (0.5, 0.9, False, 3)


@pytest.mark.parametrize("model", PARTS)
def test_the_published_guider_and_windows_are_choices(model):
    choices = ("pose_guider=published", "windows=closed_loop")
    with composed("train", "experiment=stage1_reference", f"model={model}", *choices) as config:
        assert config.windows._target_.endswith("ClosedLoopWindows")
        windows = instantiate(config.windows)
        assert (windows.context_length, windows.overlap) == (16, 4)
        guider = config.networks.pose_guider
        assert (guider.statistics, list(guider.input_range)) == ("batch", [-1.0, 509.0])
    running = "pose_guider=published_running"
    with composed("train", "experiment=stage1_reference", f"model={model}", running) as config:
        guider = config.networks.pose_guider
        assert (guider.statistics, list(guider.input_range)) == ("running", [-1.0, 1.0])
        assert config.windows._target_.endswith("OpenWindows")


def test_a_published_guider_of_the_other_statistics_keeps_what_belongs_to_its_own():
    """Both hold the same weights, and each takes pixels of its own range."""
    settings = ("experiment=stage1_reference", "model=tiny")
    with composed("train", *settings, "pose_guider=published") as config:
        card = card_of(config, "pose_guider")
    weights = Weights("w", {"pose_guider": card}, {"pose_guider": {}})
    with composed("train", *settings, "pose_guider=published_running") as config:
        fit_to_weights(config, weights, ["pose_guider"])
        assert instantiate(config.networks.pose_guider).input_range == (-1.0, 1.0)


def test_a_denoiser_that_was_told_by_hand_what_to_predict_is_trained_on_as_that():
    settings, by_hand = (
        ("experiment=stage1_reference", "model=tiny"),
        "++noise_schedule.prediction_type=epsilon",
    )
    quiet = "++noise_schedule.rescale_betas_zero_snr=false"
    with composed("train", *settings, by_hand, quiet) as config:
        card = card_of(config, "denoising_unet")
    weights = Weights("w", {"denoising_unet": card}, {"denoising_unet": {}})
    with composed("train", *settings) as config, pytest.raises(WeightsError, match=re.escape(by_hand)):
        fit_to_weights(config, weights, ["denoising_unet"])
    with composed("train", *settings, by_hand, quiet) as config:
        fit_to_weights(config, weights, ["denoising_unet"])


@pytest.mark.parametrize(("model", "checkpointed"), [("sd15", True), ("tiny", False)])
def test_only_clips_at_full_size_are_trained_with_gradient_checkpointing(model, checkpointed):
    with composed("train", "experiment=stage2_motion", f"model={model}") as config:
        assert config.gradient_checkpointing is checkpointed
    with composed("train", "experiment=stage1_reference", f"model={model}") as config:
        assert config.gradient_checkpointing is False


@pytest.mark.parametrize("wanted", [True, False])
def test_gradient_checkpointing_reaches_the_networks(wanted):
    settings = ("experiment=stage2_motion", "model=tiny", f"gradient_checkpointing={wanted}")
    with composed("train", *settings) as config:
        networks = build_module(config, None).networks
    for network in (networks.denoising_unet, networks.reference_net):
        for block in (network.unet.down_blocks[0], network.unet.up_blocks[-1]):
            layers = [module for module in block.modules() if isinstance(module, ResnetBlock2D)]
            assert {isinstance(layer, _Checkpointed) for layer in layers} == {wanted}


def test_several_machines_and_8_bit_optimizer_state_are_choices():
    settings = ("experiment=stage1_reference", "trainer=ddp_multinode", "optimizer=adamw8bit")
    with composed("train", *settings) as config:
        node = config.trainer
        assert (node.num_nodes, node.devices, node.precision) == (2, 4, "bf16-mixed")
        assert node.strategy._target_.endswith("DDPStrategy")
        assert config.optimizer._target_ == "bitsandbytes.optim.AdamW8bit"
        assert config.optimizer.lr == config.learning_rate


def test_a_sharded_run_has_the_devices_and_precision_of_ddp_and_a_strategy_of_its_own():
    with composed("train", "experiment=stage1_reference", "trainer=sharded") as config:
        assert (config.trainer.devices, config.trainer.precision) == (4, "bf16-mixed")
        strategy = instantiate(config.trainer.strategy)
        assert isinstance(strategy, Sharded)
        assert isinstance(strategy, ModelParallelStrategy)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_best_checkpoint_is_chosen_by_the_figure_of_the_run(experiment):
    with composed("train", f"experiment={experiment}") as config:
        assert config.callbacks.best.monitor == config.monitor
        assert config.callbacks.best.mode == "min"


@pytest.mark.parametrize("file", sorted((CONF / "hparams_search").glob("*.yaml")), ids=lambda file: file.stem)
def test_a_search_and_the_best_checkpoint_of_each_of_its_runs_want_the_same(file):
    """Read, not composed: its sweeper may not be installed."""
    search = OmegaConf.load(file)
    chosen = [f"{key}={search[key]}" for key in ("monitor", "monitor_mode") if key in search]
    with composed("train", "experiment=audio2mesh", *chosen) as config:
        assert config.callbacks.best.monitor == config.monitor
        wanted = {"minimize": "min", "maximize": "max"}[search.hydra.sweeper.direction]
        assert config.callbacks.best.mode == wanted


def test_a_slurm_job_has_a_task_for_each_device_and_is_asked_to_stop_by_a_signal_that_is_heard():
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="it is not installed (extra `sweep`)")
    submitit = pytest.importorskip("submitit.core.job_environment")
    overrides = ["experiment=stage1_reference", "trainer=ddp_multinode", "hydra/launcher=slurm_training"]
    schema.register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", overrides=overrides, return_hydra_config=True)
    job = config.hydra.launcher
    assert job._target_.endswith("SlurmLauncher")
    assert (job.nodes, job.tasks_per_node) == (config.trainer.num_nodes, config.trainer.devices)
    assert job.gpus_per_node == job.tasks_per_node
    sent = submitit.JobEnvironment.USR_SIG
    assert signal.Signals[f"SIG{sent}"] in SIGNALS
