"""A frame sampler of random networks, quick enough to be run many times."""

import torch
from torch import nn

from aniportrait.diffusion.context import ClosedLoopWindows, OpenWindows
from aniportrait.diffusion.noise_schedule import build_scheduler
from aniportrait.models.autoencoder import SpaceToDepth
from aniportrait.models.denoising_unet import DenoisingUNet
from aniportrait.models.image_encoder import ThumbnailEncoder
from aniportrait.models.latent_space import PortraitRelativeLatents
from aniportrait.models.motion_module import MotionModule
from aniportrait.models.portrait_networks import PortraitNetworks
from aniportrait.models.pose_guider import ReferenceAwarePoseGuider
from aniportrait.models.reference_net import ReferenceNet
from aniportrait.pipelines.portrait import PortraitPipeline

SIZES = {
    "in_channels": 192,
    "block_out_channels": (16, 32),
    "layers_per_block": 1,
    "cross_attention_dim": 192,
    "attention_head_dim": 2,
    "norm_num_groups": 8,
}
SIDE = 64


def small_pipeline(windows: OpenWindows | ClosedLoopWindows) -> PortraitPipeline:
    """Frames of 64 pixels; what is around a frame in its window changes it, for its motion modules speak up."""
    torch.manual_seed(0)
    denoiser = DenoisingUNet(**SIZES).with_motion(16, 2, 8)
    for module in denoiser.modules():
        if isinstance(module, MotionModule):
            nn.init.normal_(module.proj_out.weight, std=2.0)
    guider = ReferenceAwarePoseGuider((16, 32), width=8, attention_heads=2)
    parts = ReferenceNet(**SIZES), guider, denoiser, SpaceToDepth(), ThumbnailEncoder()
    networks = PortraitNetworks(*parts, PortraitRelativeLatents(3.0)).eval()
    return PortraitPipeline(networks, build_scheduler(0.002, 0.06, "linear", "sample"), SIDE, windows)
