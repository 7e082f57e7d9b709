"""What a training step of the original costs on this machine, at the sizes of training.py, in float32.

    git clone https://github.com/Zejun-Yang/AniPortrait ORIGINAL
    python3 -m venv VENV && VENV/bin/pip install torch torchvision diffusers==0.24.0 transformers==4.38.2 \\
        'huggingface_hub<0.26' einops 'numpy<2'
    VENV/bin/python tests/benchmarks/original_training.py ORIGINAL [--repeats 3] [--only stage1|stage2|stage2+]

It wants an older diffusers than ours, hence an environment of its own; with the torch of ours the two are of one kind.
Networks and the calls between them are the original's, frozen and trained as train_stage_1.py and train_stage_2.py do;
random weights, no dropped condition, neither loader nor tracker. Columns as training.py's.
"""

import argparse
import functools
import importlib
import itertools
import statistics
import sys
import time
import warnings
from types import ModuleType

import torch
from calibration import calibrate
from diffusers import AutoencoderKL, DDIMScheduler
from step_sizes import CLIP, PARTS, SIDE_BATCH_FRAMES, UNET, VAE, VAE_WIDTHS, WIDTHS
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

SCHEDULE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "steps_offset": 1,
    "clip_sample": False,
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
    "prediction_type": "v_prediction",
}
BLOCKS = {
    "down_block_types": ["CrossAttnDownBlock{}"] * 3 + ["DownBlock{}"],
    "up_block_types": ["UpBlock{}"] + ["CrossAttnUpBlock{}"] * 3,
}
MOTION = {
    "use_inflated_groupnorm": True,
    "unet_use_cross_frame_attention": False,
    "use_motion_module": True,
    "motion_module_resolutions": (1, 2, 4, 8),
    "motion_module_mid_block": True,
    "motion_module_type": "Vanilla",
    "motion_module_kwargs": {
        "num_attention_heads": 8,
        "num_transformer_block": 1,
        "attention_block_types": ["Temporal_Self", "Temporal_Self"],
        "temporal_position_encoding": True,
        "temporal_position_encoding_max_len": 32,
        "temporal_attention_dim_div": 1,
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU seconds of the original's training step.")
    parser.add_argument("original", help="a checkout of github.com/Zejun-Yang/AniPortrait")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=tuple(SIDE_BATCH_FRAMES))
    options = parser.parse_args()
    sys.path.insert(0, options.original)
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    print("stage    input   numbers" + "".join(f"{part:>10s}" for part in (*PARTS, "step")) + "  unit     C")
    for stage in [options.only] if options.only else SIDE_BATCH_FRAMES:
        torch.manual_seed(0)
        step = Step(stage)
        step()
        spent = [step() for _ in range(options.repeats)]
        unit, whole = calibrate(), statistics.median(map(sum, spent))
        medians = [statistics.median(times) for times in zip(*spent, strict=True)]
        figures = "".join(f"{value:10.3f}" for value in (*medians, whole))
        print(f"{stage:8s} pixels  fp32   {figures}{unit:6.2f}{whole / unit:6.2f}", flush=True)


class Step:
    """Networks, example and optimizer of a stage; a call is a training step and returns CPU seconds of PARTS."""

    def __init__(self, stage: str) -> None:
        self.side, self.batch, self.frames = SIDE_BATCH_FRAMES[stage]
        self.moving = stage != "stage1"
        flat, deep = of_original("unet_2d_condition"), of_original("unet_3d")
        self.reference = flat.UNet2DConditionModel(**UNET, **blocks("2D"))
        self.denoiser = deep.UNet3DConditionModel(
            **UNET, **blocks("3D"), unet_use_temporal_attention=False, **(MOTION if self.moving else {})
        )
        guider = of_original("pose_guider")
        guider.Transformer2DModel = functools.partial(
            guider.Transformer2DModel, num_attention_heads=8, attention_head_dim=32
        )
        self.guider = guider.PoseGuider(noise_latent_channels=WIDTHS[0])
        self.autoencoder = AutoencoderKL(
            **VAE,
            block_out_channels=VAE_WIDTHS,
            down_block_types=["DownEncoderBlock2D"] * 4,
            up_block_types=["UpDecoderBlock2D"] * 4,
        ).requires_grad_(False)
        self.image_encoder = CLIPVisionModelWithProjection(CLIPVisionConfig(**CLIP)).requires_grad_(False)
        for name, weight in self.reference.named_parameters():
            weight.requires_grad_(not self.moving and "up_blocks.3" not in name)
        self.guider.requires_grad_(not self.moving)
        for name, weight in self.denoiser.named_parameters():
            weight.requires_grad_(not self.moving or "motion_modules" in name)
        control = of_original("mutual_self_attention").ReferenceAttentionControl
        self.writer, self.reader = (
            control(network, do_classifier_free_guidance=False, mode=mode, fusion_blocks="full")
            for network, mode in ((self.reference, "write"), (self.denoiser, "read"))
        )
        if stage == "stage2":  # "stage2+" without
            self.reference.enable_gradient_checkpointing()
            self.denoiser.enable_gradient_checkpointing()
        self.trained = [
            weight
            for network in (self.reference, self.denoiser, self.guider)
            for weight in network.train().parameters()
            if weight.requires_grad
        ]
        self.optimizer = torch.optim.AdamW(self.trained, 1e-5)
        self.scheduler = DDIMScheduler(**SCHEDULE, beta_schedule="linear" if self.moving else "scaled_linear")
        size = (self.batch, 3, self.side, self.side)
        self.video = torch.rand(self.batch, self.frames, 3, self.side, self.side) * 2 - 1
        self.pose = torch.rand(self.batch, 3, self.frames, self.side, self.side) * 2 - 1
        self.portrait, self.portrait_pose = torch.rand(2, *size) * 2 - 1
        self.thumbnail = torch.rand(self.batch, 3, CLIP["image_size"], CLIP["image_size"])

    def __call__(self) -> list[float]:
        clock = [time.process_time()]
        with torch.no_grad():
            latents = (
                self.encode(self.video.flatten(0, 1)).unflatten(0, (self.batch, self.frames)).transpose(1, 2)
            )
            portrait = self.encode(self.portrait)
            embeds = self.image_encoder(self.thumbnail).image_embeds.unsqueeze(1)
        clock.append(time.process_time())
        times = torch.randint(0, 1000, (self.batch,))
        noise = torch.randn_like(latents) + 0.05 * torch.randn(*latents.shape[:2], 1, 1, 1)
        features = self.guider(self.pose, self.portrait_pose)
        self.reference(portrait, torch.zeros_like(times), encoder_hidden_states=embeds, return_dict=False)
        self.reader.update(self.writer, dtype=torch.float32)
        predicted = self.denoiser(
            self.scheduler.add_noise(latents, noise, times),
            times,
            pose_cond_fea=features,
            encoder_hidden_states=embeds,
        ).sample
        error = (predicted - self.scheduler.get_velocity(latents, noise, times)).square().flatten(1).mean(1)
        loss = (error * self.weights(times)).mean()
        clock.append(time.process_time())
        loss.backward()
        nn.utils.clip_grad_norm_(self.trained, 1.0)
        clock.append(time.process_time())
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.reader.clear()
        self.writer.clear()
        clock.append(time.process_time())
        return [end - begin for begin, end in itertools.pairwise(clock)]

    def encode(self, pictures: Tensor) -> Tensor:
        return self.autoencoder.encode(pictures).latent_dist.sample() * VAE["scaling_factor"]

    def weights(self, times: Tensor) -> Tensor:
        """Min-SNR 5 of v-prediction."""
        kept = self.scheduler.alphas_cumprod[times]
        ratio = kept / (1 - kept) + 1
        return ratio.clamp(max=5) / ratio


def blocks(kind: str) -> dict[str, list[str]]:
    return {name: [block.format(kind) for block in names] for name, names in BLOCKS.items()}


def of_original(name: str) -> ModuleType:
    return importlib.import_module(f"src.models.{name}")


if __name__ == "__main__":
    main()
