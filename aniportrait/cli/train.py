"""python train.py: one stage of AniPortrait, from a composed config to a run's folder."""

import json
import logging
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from lightning import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from aniportrait.checkpoints.pretrained import load_motion_module, load_sd_unet
from aniportrait.checkpoints.store import CHECKPOINT_CARD, FORMAT, Weights, open_weights, save_weights
from aniportrait.checkpoints.tensor_files import read_pickle
from aniportrait.cli.encoders import encoder_name
from aniportrait.cli.git_state import save_git_state
from aniportrait.cli.networks import (
    build_portrait_networks,
    card_of,
    fit_to_weights,
    load_spatial,
    record_sizes,
    states_of,
)
from aniportrait.cli.requirements import check_requirements
from aniportrait.cli.run_log import continue_csv, describe_run, loggers
from aniportrait.data.datamodule import ShardData
from aniportrait.data.portrait_data import PortraitData
from aniportrait.models.compiling import compile_layers
from aniportrait.models.freed_memory import keep_freed_memory
from aniportrait.models.onednn_linear import use_onednn
from aniportrait.models.portrait_networks import PortraitNetworks
from aniportrait.models.processor import warn_of_emulation
from aniportrait.pipelines.saved_networks import PORTRAIT, load_motion
from aniportrait.training.callbacks.ema import CURRENT
from aniportrait.training.callbacks.model_card import ModelCard
from aniportrait.training.callbacks.stop_on_signal import StoppedBySignal
from aniportrait.training.rank_failure import ending_together
from aniportrait.training.sharding import whole

log = logging.getLogger(__name__)

LOADED = {
    "audio2mesh": ("audio2mesh",),
    "audio2pose": ("audio2pose",),
    "stage1": (*PORTRAIT, "autoencoder", "image_encoder"),
    "stage2": (*PORTRAIT, "motion_module", "autoencoder", "image_encoder"),
}
"""Task -> networks that it takes from `weights=`."""

EXPECTED_WARNINGS = (
    ".*LeafSpec.*",  # inside Lightning
    ".*in eval mode at the start of training.*",  # the frozen encoders
    ".*does not have many workers.*",
    ".*IterableDataset.*__len__.*",  # the training order is endless
    ".*exists and is not empty.*",  # the run's folder, by intention
    ".*FSDP2-wrapped module.*returned a view.*",  # which nobody changes in place
)


def train(config: DictConfig) -> float | None:
    """Train, validate, and leave config, CSV log, checkpoints, weights and metrics.json in the run's folder.

    Returns the validation figure `monitor`, by which a sweep chooses, if there is one.
    """
    _check_whole_steps(config.trainer)
    checkpoint, step = _checkpoint(config)
    source = config.weights or checkpoint  # what a run went on from, its checkpoint holds as well
    weights = open_weights(source) if source else None
    if weights is not None:
        fit_to_weights(config, weights, LOADED[config.task])
    check_requirements(config, weights)
    for message in EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", message)
    config.run_dir = HydraConfig.get().runtime.output_dir
    run = Path(config.run_dir)
    if rank_zero_only.rank == 0:
        OmegaConf.save(config, run / "config.yaml", resolve=True)
    seed_everything(config.seed, workers=True, verbose=False)

    datamodule: ShardData = instantiate(config.datamodule)
    datamodule.prepare_data()
    datamodule.setup("fit")
    _check_identities(config, datamodule)
    module = build_module(config, weights)
    if isinstance(datamodule, PortraitData):
        networks: PortraitNetworks = module.networks
        datamodule.encoders = lambda: (
            encoder_name(networks.autoencoder),
            encoder_name(networks.image_encoder),
        )
    record_sizes(config, module.networks)
    cards = {name: card_of(config, name) for name in states_of(module.networks, config)}
    written = loggers(config, run)
    trainer: Trainer = instantiate(config.trainer, logger=written, callbacks=_callbacks(config, cards))
    _check_ranks(trainer)
    if trainer.is_global_zero and not getattr(trainer, "fast_dev_run", False):
        if checkpoint:
            continue_csv(written[0], step)
        describe_run(written, config, save_git_state(run))
    if isinstance(trainer.accelerator, CPUAccelerator):
        keep_freed_memory()
        use_onednn(module.networks)
        if trainer.precision.startswith("bf16"):
            warn_of_emulation(f"trainer.precision={trainer.precision}", "cpu")
    log.info("%s: %s trainable parameters, writing to %s", config.name, f"{_trainable(module):,}", run)
    with ending_together(trainer):
        return _fit(config, trainer, module, datamodule, checkpoint, cards)


def _fit(
    config: DictConfig,
    trainer: Trainer,
    module: Any,
    datamodule: ShardData,
    checkpoint: str | None,
    cards: dict[str, Any],
) -> float | None:
    run = Path(config.run_dir)
    started = time.perf_counter()
    try:
        trainer.fit(module, datamodule, ckpt_path=checkpoint, weights_only=True)
    except StoppedBySignal as stopped:
        log.warning("%s", stopped)
        return None
    seconds = time.perf_counter() - started
    if getattr(trainer, "fast_dev_run", False):
        return None

    validated = trainer.validate(module, datamodule, verbose=False)
    if not validated:
        log.warning("nothing was validated: %s holds no clip for it", config.data.folder)
    figures = validated[0] if validated else {}
    states = whole(states_of(module.networks, config))  # every rank has to say what is its
    if trainer.is_global_zero:
        for folder in [run / "weights"] + ([Path(config.export)] if config.export else []):
            save_weights(folder, states, cards)
        metrics = {**figures, "steps": trainer.global_step, "train_seconds": round(seconds, 1)}
        (run / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
        log.info("%s", ", ".join(f"{name} {value:.4g}" for name, value in figures.items()))
        log.info("weights: %s", run / "weights")
    return figures.get(config.monitor)


def build_module(config: DictConfig, weights: Weights | None) -> Any:
    """The LightningModule of `config.task`, its networks loaded with `weights` or what the config points to."""
    partial = instantiate(config.module)
    optimisation = {
        "optimizer": instantiate(config.optimizer),
        "lr_schedule": instantiate(config.lr_schedule),
    }
    if config.task in ("audio2mesh", "audio2pose"):
        if config.compile:
            raise ValueError(f"compile ({config.compile}) is for stages 1 and 2, not for {config.task}")
        network = instantiate(config.networks[config.task])
        if weights is not None:
            weights.load_into(config.task, network)
        return partial(network, **optimisation)
    networks = build_portrait_networks(config, motion=config.task == "stage2")
    networks.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    if config.gradient_checkpointing:
        networks.reference_net.enable_gradient_checkpointing()
        networks.denoising_unet.enable_gradient_checkpointing()
    if config.compile:
        compile_layers(networks.reference_net, config.compile)
        compile_layers(networks.denoising_unet, config.compile)
    if weights is not None:
        _load_portrait_weights(networks, weights, config)
    else:
        _load_pretrained(networks, config)
    return partial(networks, instantiate(config.noise_schedule), **optimisation)


def _load_portrait_weights(networks: PortraitNetworks, weights: Weights, config: DictConfig) -> None:
    weights.load_into("reference_net", networks.reference_net)
    if "pose_guider" in weights or config.task == "stage2":
        weights.load_into("pose_guider", networks.pose_guider)
    else:
        log.warning("%s holds no pose_guider: it starts from random initialisation", weights.source)
    load_spatial(networks.denoising_unet, weights)
    for name in ("autoencoder", "image_encoder"):
        if name in weights:
            weights.load_into(name, getattr(networks, name))
    if config.task == "stage2":
        if "motion_module" in weights:
            load_motion(networks.denoising_unet, weights)
        elif config.pretrained.motion_module:
            load_motion_module(config.pretrained.motion_module, networks.denoising_unet)


def _load_pretrained(networks: PortraitNetworks, config: DictConfig) -> None:
    if config.pretrained.unet:
        load_sd_unet(config.pretrained.unet, networks.reference_net, networks.denoising_unet)
    elif config.task == "stage2":
        log.warning("no weights= given: %s start from random initialisation", ", ".join(PORTRAIT))


def _callbacks(config: DictConfig, cards: dict[str, Any]) -> list[Callback]:
    card = json.dumps({"format": FORMAT, "networks": cards})
    return [
        ModelCard(CHECKPOINT_CARD, card),
        *(instantiate(node) for node in config.callbacks.values() if node),
    ]


def _check_ranks(trainer: Trainer) -> None:
    """In a SLURM job Lightning starts no ranks itself and believes SLURM's number of tasks, 1 of a plain script."""
    if trainer.world_size != trainer.num_devices * trainer.num_nodes:
        raise ValueError(
            f"trainer.devices ({trainer.num_devices}) times trainer.num_nodes ({trainer.num_nodes}) must be the number "
            f"of tasks or processes that were started, which is {trainer.world_size}: in a SLURM job, srun with "
            f"--ntasks-per-node={trainer.num_devices}, or torchrun, or unset SLURM_NTASKS"
        )


def _check_whole_steps(trainer: DictConfig) -> None:
    every, batches = trainer.val_check_interval, trainer.accumulate_grad_batches
    if isinstance(every, int) and every % batches:
        raise ValueError(
            f"validation.every ({every} batches) must be a multiple of trainer.accumulate_grad_batches ({batches}): "
            "best.ckpt would hold part of a step"
        )


def _checkpoint(config: DictConfig) -> tuple[str | None, int]:
    """The .ckpt that `resume=` means, itself or the last one of a run's folder, and the steps before it."""
    if config.resume is None:
        return None, 0
    resume, path = config.resume, Path(config.resume)
    file = path / "checkpoints" / "last.ckpt" if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"resume={resume} names no checkpoint: {file} does not exist")
    checkpoint = read_pickle(file)
    if "global_step" not in checkpoint or not checkpoint.get("optimizer_states"):
        raise ValueError(
            f"resume={resume} must name a run or its checkpoint, {file} is none: weights= begins from weights"
        )
    if CURRENT in checkpoint and not config.callbacks.get("ema"):
        raise ValueError(
            f"resume={resume} holds an average beside the weights, which would go on in their place: "
            "callbacks.ema must not be null"
        )
    for group in checkpoint["optimizer_states"][0]["param_groups"]:
        if (rate := group.get("initial_lr", group["lr"])) != config.learning_rate:
            log.warning(
                "resume= goes on with the learning rate of its checkpoint, %g: learning_rate=%g is not used",
                rate,
                config.learning_rate,
            )
            break
    return str(file), checkpoint["global_step"]


def _check_identities(config: DictConfig, datamodule: ShardData) -> None:
    known = len(datamodule.identities)
    room = config.networks.audio2pose.identities
    if config.task == "audio2pose" and known > room:
        raise ValueError(f"identities ({room}) must be at least the training identities ({known})")


def _trainable(module: LightningModule) -> int:
    return sum(weight.numel() for weight in module.parameters() if weight.requires_grad)
