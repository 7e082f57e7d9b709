"""GPU memory that training at full size is estimated to take, for cards of 24, 40 and 80 GB.

    python tests/benchmarks/memory.py      (make memory)

Nothing is allocated, no weights are needed and no GPU was ever asked. Every row composes the command it shows. Weights
are counted. Activations are the most that forward and backward of the real networks hold at any time beside weights and
gradients, seen tensor by tensor with fake tensors: bfloat16 autocast with norms in float32 as on a GPU, attention that
keeps no matrix, the encoding of pixels and autocast's copies of weights included. Gradients (once, as DDP's buckets),
averages and optimizer state follow from the number of trained weights. trainer=sharded divides these three and the
weights by its devices, and adds what it gathers. The sum takes all of them to be at their most at once. RESERVE is left
for CUDA, NCCL and fragmentation; validation, which keeps nothing for backward, is not looked at.
"""

import logging
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from hydra.utils import instantiate
from live_memory import example, step_memory, without_storage
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

sys.path.insert(0, str(Path(__file__).parents[1]))
from entries import composed

from aniportrait.cli.train import build_module
from aniportrait.training.sharding import layers_of

GIB = 2**30
RESERVE = 2.0  # GiB
CHECKPOINTED = "gradient_checkpointing=true"
PRESETS = (
    (24, "stage1_reference", "trainer=sharded"),
    (24, "stage1_reference", "trainer=sharded", CHECKPOINTED, "batch_size=12"),
    (24, "stage2_motion", "trainer=sharded"),
    (40, "stage1_reference", "trainer=sharded", "batch_size=8"),
    (40, "stage1_reference", "trainer=ddp", "optimizer=adamw8bit"),
    (40, "stage2_motion", "trainer=ddp"),
    (80, "stage1_reference", "trainer=ddp", "batch_size=8"),
    (80, "stage2_motion", "trainer=ddp", "batch_size=4"),
)
"""GB of the card, experiment, what to add to `python train.py experiment=...`."""

WITHOUT_FILES = (
    "pretrained.unet=null",
    "pretrained.motion_module=null",
    "autoencoder.sizes={block_out_channels: [128, 256, 512, 512], layers_per_block: 2, latent_channels: 4, "
    "norm_num_groups: 32, scaling_factor: 0.18215}",
    "image_encoder.sizes={hidden_size: 1024, intermediate_size: 4096, num_hidden_layers: 24, "
    "num_attention_heads: 16, image_size: 224, patch_size: 14, projection_dim: 768, layer_norm_eps: 1.0e-5}",
)
"""The published encoders' sizes in place of their files."""

STATE_BYTES = {"torch.optim.AdamW": 8.0, "bitsandbytes.optim.AdamW8bit": 2 + 2 * 4 / 256}
"""Of an optimizer, for each weight: two numbers; in 8 bits, with a float32 scale for each block of 256."""


@dataclass(frozen=True)
class Estimate:
    """GiB on one card, and numbers of weights."""

    trained: int
    frozen: int
    weights: float
    gradients: float
    averages: float
    optimizer: float
    activations: float
    gathered: float

    @property
    def total(self) -> float:
        return (
            self.weights + self.gradients + self.averages + self.optimizer + self.activations + self.gathered
        )


def main() -> None:
    logging.getLogger("aniportrait").setLevel(logging.ERROR)  # that stage 2 has no weights is the point
    print(
        "| card, GB | `python train.py experiment=` | trained, frozen, M | weights | gradients | averages ",
        end="",
    )
    print("| optimizer | activations | gathered | sum, GiB |\n|" + "---|" * 10)
    for card, experiment, *overrides in PRESETS:
        row = estimate(experiment, *overrides)
        parts = (row.weights, row.gradients, row.averages, row.optimizer, row.activations, row.gathered)
        figures = " | ".join(f"{part:.1f}" for part in parts)
        command = " ".join((experiment, *overrides))
        numbers = f"{row.trained / 1e6:.0f}, {row.frozen / 1e6:.0f}"
        fits = "" if row.total + RESERVE <= card * 1e9 / GIB else " (does not fit)"
        print(f"| {card} | `{command}` | {numbers} | {figures} | **{row.total:.1f}**{fits} |", flush=True)


def estimate(experiment: str, *overrides: str, files: tuple[str, ...] = WITHOUT_FILES) -> Estimate:
    """What one card of a run holds."""
    with composed("train", f"experiment={experiment}", *overrides, *files) as config:
        state_bytes = STATE_BYTES[config.optimizer._target_]
        config.optimizer._target_ = next(iter(STATE_BYTES))  # the other may not be installed
        with torch.device("meta"):
            module = build_module(config, None)
        module.scheduler = instantiate(config.noise_schedule)
        networks = module.networks
        cut = (networks.reference_net, networks.pose_guider, networks.denoising_unet)
        sharded = "Sharded" in str(config.trainer.get("strategy"))
        devices = config.trainer.devices * config.trainer.num_nodes if sharded else 1
        counted = {network: _count(network) for network in cut}
        trained = sum(_count(network, trained=True) for network in cut)
        frozen = _count(networks) - trained
        gathered = sum(map(_gathered, cut)) if sharded else 0
        with FakeTensorMode(allow_non_fake_inputs=True):
            without_storage(module, dict.fromkeys(cut, torch.bfloat16) if sharded else {})
            batch = example(config.batch_size, config.datamodule.frames, config.image_size)
            activations, _ = step_memory(module, batch)
        whole = trained + frozen - sum(counted.values())  # the encoders
        return Estimate(
            trained,
            frozen,
            weights=4 * (whole + sum(counted.values()) / devices) / GIB,
            gradients=4 * trained / devices / GIB,
            averages=4 * trained / devices / GIB if config.callbacks.ema else 0.0,
            optimizer=state_bytes * trained / devices / GIB,
            activations=activations / GIB,
            gathered=gathered / GIB,
        )


def _gathered(network: nn.Module) -> int:
    """Bytes of a sharded network's bfloat16 weights and gradients that are whole at a time.

    What lies outside of its layers; two layers, one of them fetched ahead; and the float32 gradient that is summed.
    """
    layers = layers_of(network)
    outside = [
        _count(network, trained) - sum(_count(layer, trained) for layer in layers) for trained in (0, 1)
    ]
    largest = max((_count(layer) for layer in layers), default=0)
    return 2 * sum(outside) + 2 * 2 * largest + 4 * max((_count(layer, True) for layer in layers), default=0)


def _count(module: nn.Module, trained: bool | int = False) -> int:
    return sum(weight.numel() for weight in module.parameters() if weight.requires_grad or not trained)


if __name__ == "__main__":
    main()
