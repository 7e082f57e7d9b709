"""Autoencoders: images <-> latents. All frozen, each with encode, decode, latent_channels and factor."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor, nn

from aniportrait.models.pretrained import MissingWeightsError, check_sizes, from_folder_or_hub, plain


class SpaceToDepth(nn.Module):
    """Lossless and without weights: a `factor` x `factor` block of pixels becomes 3 factor^2 channels.

    Args:
        factor: pixels per latent pixel, each way.
        scaling_factor: what pixel values in [-1, 1] are multiplied by.
    """

    def __init__(self, factor: int = 8, scaling_factor: float = 1.0):
        super().__init__()
        self.factor = factor
        self.scaling_factor = scaling_factor
        self.latent_channels = 3 * factor**2

    def encode(self, images: Tensor) -> Tensor:
        """Images (n, 3, h, w) in [-1, 1] -> latents (n, c, h / factor, w / factor)."""
        return F.pixel_unshuffle(images, self.factor) * self.scaling_factor

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (n, c, h, w) -> images (n, 3, h factor, w factor), clamped to [-1, 1]."""
        return (F.pixel_shuffle(latents, self.factor) / self.scaling_factor).clamp(-1, 1)


class SDVae(nn.Module):
    """Stable Diffusion's autoencoder; encodes to the mean of its posterior.

    Args:
        path: a folder or hub name of an AutoencoderKL, say stabilityai/sd-vae-ft-mse.
        sizes: numbers of one whose weights come from elsewhere; `path` is then ignored. See AUTOENCODER_SIZES.
    """

    vae: Any  # AutoencoderKL, whose annotations are narrower than what it takes

    def __init__(
        self, path: str | Path = "stabilityai/sd-vae-ft-mse", sizes: Mapping[str, Any] | None = None
    ):
        super().__init__()
        source = "stabilityai/sd-vae-ft-mse from huggingface.co"
        if sizes is None:
            self.vae = from_folder_or_hub(
                AutoencoderKL, path, "autoencoder.path", source, low_cpu_mem_usage=False
            )
        else:
            self.vae = _sized_vae(sizes)
        self.vae.requires_grad_(False).eval()
        self.scaling_factor: float = self.vae.config["scaling_factor"]
        self.latent_channels: int = self.vae.config["latent_channels"]
        self.factor = 2 ** (len(self.vae.config["block_out_channels"]) - 1)

    @property
    def sizes(self) -> dict[str, Any]:
        """The numbers that build it again, for other weights."""
        return {name: plain(self.vae.config[name]) for name in AUTOENCODER_SIZES}

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Images (n, 3, h, w) in [-1, 1] -> scaled latents (n, c, h / 8, w / 8)."""
        return self.vae.encode(images).latent_dist.mode() * self.scaling_factor

    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents (n, c, h, w) -> images (n, 3, 8 h, 8 w), clamped to [-1, 1]."""
        return self.vae.decode(latents / self.scaling_factor).sample.clamp(-1, 1)


AUTOENCODER_SIZES = (
    "block_out_channels",
    "layers_per_block",
    "latent_channels",
    "norm_num_groups",
    "scaling_factor",
)
"""The numbers of an AutoencoderKL of Stable Diffusion's layout."""


def _sized_vae(sizes: Mapping[str, Any]) -> AutoencoderKL:
    check_sizes(sizes, AUTOENCODER_SIZES, "autoencoder.sizes")
    levels = len(sizes["block_out_channels"])
    blocks: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "block_out_channels": tuple(sizes["block_out_channels"]),
    }
    return AutoencoderKL(**{**sizes, **blocks})


class Taef2(nn.Module):
    """The tiny autoencoder of FLUX.2's latent space (https://github.com/madebyollin/taesd, MIT).

    Args:
        path: folder that holds taef2_encoder.pth and taef2_decoder.pth.
    """

    latent_channels = 32
    factor = 8

    def __init__(self, path: str | Path):
        super().__init__()
        self.encoder = _load(_taef2_encoder(), Path(path).expanduser() / "taef2_encoder.pth")
        self.decoder = _load(_taef2_decoder(), Path(path).expanduser() / "taef2_decoder.pth")
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Images (n, 3, h, w) in [-1, 1] -> latents (n, 32, h / 8, w / 8) of about unit variance."""
        return self.encoder(images * 0.5 + 0.5)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (n, 32, h, w) -> images (n, 3, 8 h, 8 w), clamped to [-1, 1]."""
        return (self.decoder(latents) * 2 - 1).clamp(-1, 1)


class _Block(nn.Module):
    def __init__(self, before: int, after: int, pool: bool = False):
        super().__init__()
        self.conv = nn.Sequential(
            _conv(before, after), nn.ReLU(), _conv(after, after), nn.ReLU(), _conv(after, after)
        )
        self.skip = nn.Conv2d(before, after, 1, bias=False) if before != after else nn.Identity()
        wide = 4 * before
        self.pool = (
            nn.Sequential(
                nn.Conv2d(before, wide, 1, bias=False),
                nn.GroupNorm(4, wide),
                nn.ReLU(),
                nn.Conv2d(wide, before, 1, bias=False),
            )
            if pool
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.pool is not None:
            x = x + self.pool(x)
        return F.relu(self.conv(x) + self.skip(x))


class _Clamp(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / 3) * 3


def _conv(before: int, after: int, **kwargs) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, padding=1, **kwargs)


def _taef2_encoder() -> nn.Sequential:
    layers: list[nn.Module] = [_conv(3, 64), _Block(64, 64)]
    for pool in (False, False, True):
        layers += [_conv(64, 64, stride=2, bias=False), *(_Block(64, 64, pool) for _ in range(3))]
    return nn.Sequential(*layers, _conv(64, 32))


def _taef2_decoder() -> nn.Sequential:
    layers: list[nn.Module] = [
        _Clamp(),
        _conv(32, 64),
        nn.ReLU(),
        *(_Block(64, 64, pool=True) for _ in range(3)),
    ]
    for blocks in (3, 3, 1):
        layers += [
            nn.Upsample(scale_factor=2),
            _conv(64, 64, bias=False),
            *(_Block(64, 64) for _ in range(blocks)),
        ]
    return nn.Sequential(*layers, _conv(64, 3))


def _load(module: nn.Sequential, file: Path) -> nn.Sequential:
    if not file.is_file():
        raise MissingWeightsError(
            f"{file} does not exist: get {file.name} from github.com/madebyollin/taesd "
            "and set autoencoder.path to its folder"
        )
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        module.load_state_dict({key: value.float() for key, value in state.items()})
    except Exception as error:
        raise MissingWeightsError(
            f"{file} is damaged or holds another network's weights: get it again"
        ) from error
    return module
