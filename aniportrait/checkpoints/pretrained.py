"""What training at full size starts from: Stable Diffusion 1.5's UNet and AnimateDiff's motion modules."""

from pathlib import Path

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn

from aniportrait.checkpoints.convert import denoising_unet_from_published, reference_net_from_published
from aniportrait.checkpoints.store import is_motion_key, load_strictly
from aniportrait.checkpoints.tensor_files import read_tensors
from aniportrait.models.pretrained import from_folder_or_hub


def load_sd_unet(path: str, reference_net: nn.Module, denoising_unet: nn.Module) -> None:
    """Both UNets start as Stable Diffusion's; motion modules of the denoiser, if any, keep their weights.

    Args: path of a Stable Diffusion 1.5 folder (with `unet/` in it), or its hub name.
    """
    unet = from_folder_or_hub(
        UNet2DConditionModel,
        path,
        "pretrained.unet",
        "Stable Diffusion 1.5 (stable-diffusion-v1-5/stable-diffusion-v1-5)",
        subfolder="unet",
        low_cpu_mem_usage=False,  # the other way needs accelerate, and says so at length
    )
    state = unet.state_dict()
    motion = {key: value for key, value in denoising_unet.state_dict().items() if is_motion_key(key)}
    load_strictly(denoising_unet, denoising_unet_from_published(state) | motion, f"the UNet of {path}")
    load_strictly(reference_net, reference_net_from_published(state), f"the UNet of {path}")


def load_motion_module(path: str, denoising_unet: nn.Module) -> None:
    """The motion modules start as AnimateDiff's (mm_sd_v15_v2.ckpt), with or without the `module.` prefix."""
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(
            f"pretrained.motion_module={path} does not exist: get mm_sd_v15_v2.ckpt of guoyww/animatediff"
        )
    state = read_tensors(file)
    own = denoising_unet.state_dict()
    spatial = {key: value for key, value in own.items() if not is_motion_key(key)}
    load_strictly(denoising_unet, denoising_unet_from_published(state) | spatial, f"motion modules of {file}")
