"""Typed top level of every entry's config: an unknown key or a wrong type fails while the config is composed."""

from dataclasses import dataclass, field
from typing import Any, List  # noqa: UP035

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING


@dataclass
class NetworksConfig:
    """What it takes to build the networks: choices, sizes, where pretrained files lie."""

    model_name: str = MISSING
    image_size: int = MISSING
    latent_channels: int = MISSING
    image_embed_width: int = MISSING
    audio_width: int = MISSING
    fps: float = 25.0
    identities: int = 100
    sizes: Any = MISSING
    pretrained: Any = MISSING
    stage1_required: bool = MISSING
    budgets: Any = MISSING
    objective: Any = MISSING
    keep_decoded: bool = MISSING
    colour_change: float = MISSING
    frames_per_portrait: int = MISSING
    validation: Any = MISSING
    ema_decay: float = MISSING
    motion_frames: int = MISSING
    num_workers: int = MISSING
    sampling: Any = MISSING
    autoencoder: Any = MISSING
    image_encoder: Any = MISSING
    audio_encoder: Any = MISSING
    mesh_head: Any = MISSING
    audio2pose: Any = MISSING
    pose_loss: Any = MISSING
    pose_rollout: Any = MISSING
    pose_guider: Any = MISSING
    noise_schedule: Any = MISSING
    latent_space: Any = MISSING
    windows: Any = MISSING
    networks: Any = MISSING
    paths: Any = MISSING


@dataclass
class TrainConfig(NetworksConfig):
    """python train.py"""

    name: str = MISSING
    task: str = MISSING
    monitor: str = MISSING
    monitor_mode: str = "min"
    seed: int = 42
    max_steps: int = MISSING
    batch_size: int = MISSING
    gradient_checkpointing: bool = False
    compile: str | None = None
    learning_rate: float = MISSING
    warmup_steps: int = MISSING
    weights: str | None = None
    resume: str | None = None
    export: str | None = None
    out: str = MISSING
    run_dir: str = MISSING
    data: Any = MISSING
    datamodule: Any = MISSING
    module: Any = MISSING
    optimizer: Any = MISSING
    lr_schedule: Any = MISSING
    trainer: Any = MISSING
    callbacks: Any = MISSING
    logger: Any = None


@dataclass
class VideosConfig:
    """Videos to be scored, whoever made them."""

    generated: str | None = None
    real: str | None = None
    reference: str | None = None
    driving: str | None = None
    size: int | None = None
    fps: float | None = None
    distortions: bool = False
    max_failed: float = 0.1


@dataclass
class EvaluateConfig:
    """python evaluate.py"""

    name: str = MISSING
    weights: str | None = None
    videos: VideosConfig = field(default_factory=VideosConfig)
    compare: list[str] | None = None
    syncnet: str | None = None
    metrics: Any = MISSING
    protocol: Any = None
    processes: int = 1
    rank_by: str | None = None
    logger: Any = None
    run_dir: str = MISSING
    rivals: list[str] = field(default_factory=list)
    runs: str | None = None
    out: str = MISSING
    split: str | None = None
    seed: int = 42
    device: str = "cpu"
    precision: str = "fp32"
    num_workers: int = 0
    only: list[str] | None = None
    pairs_per_clip: int = MISSING
    sampling_seeds: int = MISSING
    sampling_steps: int | None = None
    guidance_scale: float | None = None
    guidance_rescale: float | None = None
    guidance_interval: list[float] | None = None
    shared_noise: float | None = None
    motion_clips: int = MISSING
    context: str | None = None
    data: Any = MISSING
    paths: Any = MISSING


@dataclass
class AnimateConfig:
    """python animate.py"""

    weights: str = MISSING
    portrait: str | None = None
    audio: str | None = None
    driving: str | None = None
    track: str | None = None
    list: str | None = None
    out: str = MISSING
    head_pose: str | None = None
    style: int | None = None
    expression: float = 1.0
    eyes: float = 1.0
    mouth: float = 1.0
    face: int | None = None
    paste_back: bool = False
    label: bool = False
    duration: float | None = None
    fps: float | None = None
    image_size: int | None = None
    speed: str = "exact"
    seed: int = 42
    steps: int | None = None
    solver: str | None = None
    guidance_scale: float | None = None
    guidance_rescale: float | None = None
    guidance_interval: List[float] | None = None  # noqa: UP006 (`list` is a field)
    shared_noise: float | None = None
    context: str | None = None
    device: str = "cpu"
    precision: str | None = None
    compile: str | None = None
    paths: Any = MISSING


@dataclass
class WebConfig:
    """python web.py"""

    weights: str = MISSING
    host: str = MISSING
    port: int = MISSING
    longest_seconds: float = MISSING
    largest_megabytes: int = MISSING
    waiting: int = MISSING
    keep_minutes: float = MISSING
    image_size: int | None = None
    speed: str = "exact"
    context: str | None = None
    device: str = "cpu"
    precision: str | None = None
    compile: str | None = None
    paths: Any = MISSING


@dataclass
class ConvertConfig:
    """python convert.py"""

    published: str | None = None
    weights: str | None = None
    out: str = MISSING
    only: list[str] | None = None
    image_size: int | None = None
    fps: float = 30.0
    guider_statistics: str = "batch"
    heads: Any = MISSING
    norm_num_groups: int | None = None


@dataclass
class DownloadConfig:
    """python download.py"""

    out: str = MISSING
    training: bool = False


@dataclass
class PrepareConfig:
    """python prepare.py"""

    source: Any = MISSING
    out: str = MISSING
    step: str = "clips"
    partition: str | None = None
    data: Any = MISSING
    autoencoder: Any = MISSING
    image_encoder: Any = MISSING
    latent_channels: int = MISSING
    image_embed_width: int = MISSING
    encoding: Any = MISSING
    show: Any = MISSING
    fps: float = 25.0
    image_size: int = MISSING
    margin: float = MISSING
    scenes: str = MISSING
    cut_threshold: float = MISSING
    longest_seconds: float = MISSING
    gates: Any = MISSING
    workers: int | None = None
    clips_per_shard: int = MISSING
    paths: Any = MISSING


@dataclass
class PoseTemplateConfig:
    """python pose_template.py"""

    video: str = MISSING
    out: str = MISSING
    fps: float = 25.0
    paths: Any = MISSING


def register() -> None:
    """Make the schemas known to Hydra under `<entry>_schema`."""
    store = ConfigStore.instance()
    store.store(name="networks_schema", node=NetworksConfig)
    store.store(name="train_schema", node=TrainConfig)
    store.store(name="evaluate_schema", node=EvaluateConfig)
    store.store(name="animate_schema", node=AnimateConfig)
    store.store(name="web_schema", node=WebConfig)
    store.store(name="prepare_schema", node=PrepareConfig)
    store.store(name="pose_template_schema", node=PoseTemplateConfig)
    store.store(name="convert_schema", node=ConvertConfig)
    store.store(name="download_schema", node=DownloadConfig)
