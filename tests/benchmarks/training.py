"""What a training step of both steps of Lmk2Video costs, part by part.

    python tests/benchmarks/training.py [--repeats 3] [--only stage1|stage2]

Random weights, one thread, AdamW, the batch in memory: widths 64, 128, 256, 256, published PoseGuider with attention
8 x 32, AutoencoderKL 32, 64, 128, 128, CLIP tower of 192 x 6. Stage 1: 256 px, batch 2. Stage 2: 128 px, 16 frames,
gradient checkpointing; "stage2+" without. "cached" rows take latents and image embeddings as prepared.

Prints medians of CPU seconds; C, the step divided by the calibration of the same process; peak memory; operations,
and their share of the rate at which this machine multiplies 2048 x 2048 matrices of the row's precision. `load` is what
a batch from shards of a drawn talker costs a worker of the loader, beside the step and not part of it.
"""

import argparse
import itertools
import multiprocessing
import resource
import statistics
import tempfile
import time
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from calibration import calibrate
from step_sizes import CLIP, PARTS, SIDE_BATCH_FRAMES, UNET, VAE, VAE_WIDTHS, WIDTHS
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from aniportrait.data.latents import Latents, LatentsOrigin, write_latents
from aniportrait.data.portrait_windows import PortraitWindows
from aniportrait.data.schema import PortraitBatch
from aniportrait.data.shards import ShardIndex
from aniportrait.data.synthetic import SyntheticTalkers
from aniportrait.diffusion.noise_schedule import build_scheduler
from aniportrait.models.autoencoder import SDVae
from aniportrait.models.denoising_unet import DenoisingUNet
from aniportrait.models.freed_memory import keep_freed_memory
from aniportrait.models.image_encoder import ClipImageEncoder
from aniportrait.models.latent_space import AbsoluteLatents
from aniportrait.models.onednn_linear import use_onednn
from aniportrait.models.portrait_networks import PortraitNetworks
from aniportrait.models.pose_guider import PublishedPoseGuider
from aniportrait.models.processor import emulates_bf16
from aniportrait.models.reference_net import ReferenceNet
from aniportrait.training.portrait_step import frame_latents, portrait_loss
from aniportrait.training.stage1 import Stage1
from aniportrait.training.stage2 import Stage2

ORIGINAL = {"stage1": 7.7, "stage2": 7.0, "stage2+": 6.0}
"""C of the original's step, measured once elsewhere on uncached input."""


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU seconds of a training step.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=tuple(ORIGINAL))
    options = parser.parse_args()
    print("stage    input   numbers" + "".join(f"{part:>10s}" for part in ("load", *PARTS, "step")), end="")
    print("  unit     C  original/C  peak GB  GFLOP  of matrix rate")
    rows = [
        (stage, cached, half)
        for stage in ([options.only] if options.only else ORIGINAL)
        for half in ((False,) if emulates_bf16("cpu") else (False, True))
        for cached in (False, True)
    ]
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for row in pool.imap(measured, [(*row, options.repeats) for row in rows], chunksize=1):
            print(row, flush=True)
    if emulates_bf16("cpu"):
        print("No bf16: this processor has no such products.")


def measured(row: tuple[str, bool, bool, int]) -> str:
    stage, cached, half, repeats = row
    torch.set_num_threads(1)
    torch.manual_seed(0)
    keep_freed_memory()
    module = training(stage)
    batch = example(module, stage, cached)
    optimizer = module.configure_optimizers()["optimizer"]
    step(module, batch, optimizer, half)
    spent = [step(module, batch, optimizer, half) for _ in range(repeats)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    unit, rate = calibrate(), matrix_rate(torch.bfloat16 if half else torch.float32)
    with FlopCounterMode(display=False) as counter:
        step(module, batch, optimizer, half)
    whole, flop = statistics.median(map(sum, spent)), counter.get_total_flops()
    medians = [statistics.median(times) for times in zip(*spent, strict=True)]
    figures = "".join(f"{value:10.3f}" for value in (load(stage, cached), *medians, whole))
    return (
        f"{stage:8s} {'cached' if cached else 'pixels'}  {'bf16' if half else 'fp32'}   {figures}"
        f"{unit:6.2f}{whole / unit:6.2f}{ORIGINAL[stage] * unit / whole:12.2f}{peak:9.2f}"
        f"{flop / 1e9:7.0f}{flop / whole / rate:10.0%}"
    )


def load(stage: str, cached: bool, repeats: int = 20) -> float:
    """CPU seconds of a batch from shards, strides 1 and 4, every clip read anew."""
    side, b, f = SIDE_BATCH_FRAMES[stage]
    generator = np.random.default_rng(0)
    spent = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        talker = SyntheticTalkers(identities=1, clips_per_identity=1, seconds=3.2, image_size=side, workers=1)
        with redirect_stderr(StringIO()):  # no progress bars between the rows
            talker.write(folder)
        index = ShardIndex.load(folder)
        windows = PortraitWindows(
            side, f, (1, 4), 8, 0, latents=prepared(folder, side, index.digest) if cached else None
        )
        for _ in range(repeats):
            begin = time.process_time()
            windows.collate([windows.random(index.samples[0], generator) for _ in range(b)])
            spent.append(time.process_time() - begin)
    return statistics.mean(spent)  # short and long strides both belong to it


def prepared(folder: Path, side: int, digest: str) -> dict:
    """Latents beside the shards, all zero: to reading them it is the same."""

    def encode(pictures: Tensor) -> tuple[Tensor, Tensor]:
        n = len(pictures)
        return torch.zeros(n, VAE["latent_channels"], side // 8, side // 8), torch.zeros(
            n, CLIP["projection_dim"]
        )

    with redirect_stderr(StringIO()):
        write_latents(folder, encode, LatentsOrigin("", "", side, digest))
    return {folder: Latents.load(folder)}


def training(stage: str) -> Stage1:
    denoiser = DenoisingUNet(**UNET)
    networks = PortraitNetworks(
        ReferenceNet(**UNET),
        PublishedPoseGuider(WIDTHS, 8, 32),
        denoiser if stage == "stage1" else denoiser.with_motion(),
        SDVae(sizes={**VAE, "block_out_channels": VAE_WIDTHS}),
        ClipImageEncoder(sizes=CLIP),
        AbsoluteLatents(),
    ).to(memory_format=torch.channels_last)
    if stage == "stage2":  # "stage2+" without
        networks.reference_net.enable_gradient_checkpointing()
        networks.denoising_unet.enable_gradient_checkpointing()
    use_onednn(networks)
    kind = Stage1 if stage == "stage1" else Stage2
    return kind(
        networks, build_scheduler(), lambda weights: torch.optim.AdamW(weights, 1e-5, fused=True), no_schedule
    )


def no_schedule(optimizer: torch.optim.Optimizer) -> SimpleNamespace:
    return SimpleNamespace(optimizer=optimizer)


def example(module: Stage1, stage: str, cached: bool) -> PortraitBatch:
    side, b, f = SIDE_BATCH_FRAMES[stage]
    pixels = torch.rand(4, b, f, 3, side, side) * 2 - 1
    batch = PortraitBatch(
        frames=pixels[0],
        pose_image=pixels[1],
        reference_image=pixels[2][:, 0],
        reference_pose_image=pixels[3][:, 0],
        face_box=torch.tensor([0.2, 0.2, 0.8, 0.8]).expand(b, f, 4),
        mouth_box=torch.tensor([0.4, 0.6, 0.6, 0.7]).expand(b, f, 4),
        keys=[str(k) for k in range(b)],
        counted=torch.ones(b, dtype=torch.bool),
    )
    return encoded(module, batch) if cached else batch


def encoded(module: Stage1, batch: PortraitBatch) -> PortraitBatch:
    networks = module.networks
    return batch._replace(
        latents=frame_latents(networks, batch),
        reference_latents=networks.encode(batch.reference_image[:, None])[:, 0],
        image_embeds=networks.image_embeds(batch.reference_image),
    )


def step(module: Stage1, batch: PortraitBatch, optimizer: torch.optim.Optimizer, half: bool) -> list[float]:
    """CPU seconds of PARTS."""
    clock = [time.process_time()]
    generators = [torch.Generator().manual_seed(k) for k in range(len(batch.keys))]
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        if batch.latents is None:
            batch = encoded(module, batch)
        clock.append(time.process_time())
        conditions = module.conditions(batch)
        loss, _ = portrait_loss(
            module.networks, module.scheduler, conditions, batch, module.settings, generators
        )
    clock.append(time.process_time())
    loss.backward()
    nn.utils.clip_grad_norm_([weight for weight in module.parameters() if weight.requires_grad], 1.0)
    clock.append(time.process_time())
    optimizer.step()
    optimizer.zero_grad()
    clock.append(time.process_time())
    return [end - begin for begin, end in itertools.pairwise(clock)]


def matrix_rate(dtype: torch.dtype) -> float:
    """Operations per CPU second of a product of two 2048 x 2048 matrices."""
    first, second = torch.randn(2, 2048, 2048).to(dtype)
    first @ second
    spent = []
    for _ in range(3):
        begin = time.process_time()
        first @ second
        spent.append(time.process_time() - begin)
    return 2 * 2048**3 / min(spent)


if __name__ == "__main__":
    main()
