"""What is saved by computing only once what is the same for every frame, window and step of a video.

    python tests/benchmarks/sampling.py [--size 128] [--frames 24] [--steps 4] [--guidance 3.5] [--repeats 3]

Random weights at a small size of Stable Diffusion 1.5's layout (widths 64, 128, 256, 256; 21 motion modules), one
thread, windows of 16 frames that share 4, all ways in turns in one run. From the top each row saves one thing more,
none of which changes the numbers beyond rounding. Prints CPU seconds (the median of all repeats), how many times less
that is than the first row, and the largest difference from the first row's latents, relative to the largest of them.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import Tensor, nn

from aniportrait.diffusion.context import ClosedLoopWindows
from aniportrait.diffusion.noise_schedule import build_scheduler
from aniportrait.diffusion.pose_track import PoseTrack
from aniportrait.diffusion.sampler import sample
from aniportrait.models.denoising_unet import DenoisingUNet
from aniportrait.models.motion_module import MotionModule
from aniportrait.models.portrait_attention import install_portrait_attention, spatial_blocks
from aniportrait.models.pose_guider import PublishedPoseGuider
from aniportrait.models.reference_net import ReferenceNet

SIZES = {"block_out_channels": (64, 128, 256, 256), "cross_attention_dim": 64}


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU seconds to sample a video.")
    parser.add_argument("--size", type=int, default=128, help="pixels, a multiple of 64")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--guidance", type=float, default=3.5)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    ways = Ways(options)
    rows: dict[str, Callable[[], Tensor]] = {
        "everything every time": lambda: ways.sampled(kept=False, one_token=False, once=False),
        "+ pose features once per window": lambda: ways.sampled(kept=True, one_token=False, once=False),
        "+ one token needs no queries": lambda: ways.sampled(kept=True, one_token=True, once=False),
        "+ portrait projected once": lambda: ways.sampled(kept=True, one_token=True, once=True),
    }
    spent: dict[str, list[float]] = {name: [] for name in rows}
    latents: dict[str, Tensor] = {}
    for _ in range(options.repeats):
        for name, way in rows.items():
            begin = time.process_time()
            latents[name] = way()
            spent[name].append(time.process_time() - begin)
    print(
        f"{options.size}x{options.size}, {options.frames} frames, {options.steps} steps, guidance "
        f"{options.guidance:g}, one thread, CPU seconds"
    )
    first = next(iter(rows))
    for name, times in spent.items():
        median = sorted(times)[len(times) // 2]
        ratio = sorted(spent[first])[len(times) // 2] / median
        difference = float((latents[name] - latents[first]).abs().max() / latents[first].abs().max())
        print(f"{name:32s} {median:7.2f}   {ratio:5.2f} times   difference {difference:.0e}")


class Ways:
    """One video, sampled with some savings or without."""

    def __init__(self, options: Any):
        self.options = options
        self.denoiser = DenoisingUNet(**SIZES).with_motion().eval()
        for module in self.denoiser.modules():
            if isinstance(module, MotionModule):
                nn.init.normal_(module.proj_out.weight, std=0.02)
        self.guider = PublishedPoseGuider(SIZES["block_out_channels"], 8, 32).eval()
        self.pose_image = torch.rand(1, options.frames, 3, options.size, options.size) * 2 - 1
        self.image_embeds = torch.randn(1, 1, 64)
        side = options.size // 8
        self.shape = (1, options.frames, 4, side, side)
        with torch.no_grad():
            self.reference_features = ReferenceNet(**SIZES)(torch.randn(1, 4, side, side), self.image_embeds)

    def sampled(self, *, kept: bool, one_token: bool, once: bool) -> Tensor:
        memory = 2**30 if kept else 0
        track = PoseTrack(self.guider, self.pose_image, self.pose_image[:, 0], kept_bytes=memory)
        if one_token:
            install_portrait_attention(self.denoiser.unet)
        else:
            install_stock_cross_attention(self.denoiser)
        return sample(
            self.denoiser if once else EveryTime(self.denoiser),
            build_scheduler(beta_schedule="linear"),
            pose_features=track,
            image_embeds=self.image_embeds,
            reference_features=self.reference_features,
            latent_shape=self.shape,
            steps=self.options.steps,
            guidance_scale=self.options.guidance,
            windows=ClosedLoopWindows(16, 4),
            generator=torch.Generator().manual_seed(0),
        )


class EveryTime(nn.Module):
    """A denoiser that projects the portrait at every call."""

    def __init__(self, denoiser: nn.Module):
        super().__init__()
        self.denoiser = denoiser

    def projected(self, image_embeds: Tensor, reference_features: dict[str, Tensor]) -> tuple[Any, Any]:
        return image_embeds, reference_features

    def forward(self, *args: Any) -> Tensor:
        return self.denoiser(*args)


class StockCrossAttention(AttnProcessor2_0):
    """diffusers' attention, with queries and keys; the token is repeated for each frame."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Any = None,
        attention_mask: Any = None,
        temb: Any = None,
        image_answers: Any = None,
        recorded: Any = None,
        reference_features: Any = None,
        reference_keep: Any = None,
    ) -> Tensor:
        frames = len(hidden_states) // len(encoder_hidden_states)
        return super().__call__(attn, hidden_states, encoder_hidden_states.repeat_interleave(frames, dim=0))


def install_stock_cross_attention(denoiser: DenoisingUNet) -> None:
    """Let queries, keys and the norm before them be computed again."""
    for block in spatial_blocks(denoiser).values():
        block.attn2.processor = StockCrossAttention()
        norm = nn.LayerNorm(block.norm2.normalized_shape)
        norm.load_state_dict(block.norm2.state_dict())
        block.norm2 = norm


if __name__ == "__main__":
    main()
