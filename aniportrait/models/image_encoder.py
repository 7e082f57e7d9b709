"""Image encoders: a portrait -> one token for the cross-attention of both UNets. Frozen."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from aniportrait.models.pretrained import check_sizes, from_folder_or_hub, plain

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class ClipImageEncoder(nn.Module):
    """CLIP's vision tower with its projection.

    Args:
        path: a folder with config.json or a subfolder image_encoder, or a hub name with that subfolder, say
            lambdalabs/sd-image-variations-diffusers.
        sizes: numbers of a tower whose weights come from elsewhere; `path` is then ignored. See CLIP_SIZES.
    """

    clip: Any  # CLIPVisionModelWithProjection; its config is annotated wider than it is

    def __init__(
        self,
        path: str | Path = "lambdalabs/sd-image-variations-diffusers",
        sizes: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        self.clip = self._pretrained(path) if sizes is None else _sized_clip(sizes)
        self.clip.requires_grad_(False).eval()

    @staticmethod
    def _pretrained(path: str | Path) -> Any:
        direct = (Path(path).expanduser() / "config.json").is_file()
        clip = from_folder_or_hub(
            CLIPVisionModelWithProjection,
            path,
            "image_encoder.path",
            "lambdalabs/sd-image-variations-diffusers (its folder image_encoder) from huggingface.co",
            may_add=("vision_model.embeddings.position_ids",),  # a buffer that older versions stored
            **({} if direct else {"subfolder": "image_encoder"}),
        )
        if clip.config.hidden_act != ACTIVATION:
            raise ValueError(
                f"image_encoder.path={path} has the activation {clip.config.hidden_act}, it must be {ACTIVATION}"
            )
        return clip.float()  # whatever the file holds

    @property
    def embed_width(self) -> int:
        return self.clip.config.projection_dim

    @property
    def sizes(self) -> dict[str, Any]:
        """The numbers that build it again, for other weights."""
        return {name: plain(getattr(self.clip.config, name)) for name in CLIP_SIZES}

    @torch.no_grad()
    def forward(self, reference_image: Tensor) -> Tensor:
        """Portraits (b, 3, h, w) in [-1, 1] -> (b, 1, d)."""
        pixels = clip_pixels(reference_image, self.clip.config.image_size)
        return self.clip(pixel_values=pixels.to(self.clip.dtype)).image_embeds[:, None]


CLIP_SIZES = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "image_size",
    "patch_size",
    "projection_dim",
    "layer_norm_eps",
)
"""The numbers of CLIP's vision tower."""
ACTIVATION = "quick_gelu"
"""The published one's, which no number tells."""


def _sized_clip(sizes: Mapping[str, Any]) -> CLIPVisionModelWithProjection:
    check_sizes(sizes, CLIP_SIZES, "image_encoder.sizes")
    return CLIPVisionModelWithProjection(CLIPVisionConfig(hidden_act=ACTIVATION, **sizes))


class TinyImageEncoder(ClipImageEncoder):
    """A small CLIP vision tower with fixed random weights: sees colour and coarse layout, downloads nothing.

    Args:
        embed_width: d of what it returns.
        image_size: pixels each way that it looks at.
        seed: of its weights.
    """

    def __init__(self, embed_width: int = 64, image_size: int = 32, seed: int = 0):
        nn.Module.__init__(self)
        config = CLIPVisionConfig(
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            image_size=image_size,
            patch_size=8,
            projection_dim=embed_width,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.clip = CLIPVisionModelWithProjection(config)
        self.clip.requires_grad_(False).eval()


class ThumbnailEncoder(nn.Module):
    """The portrait's own colours as its token: a thumbnail, flattened. No weights, nothing to learn or to load.

    Args:
        size: side of the thumbnail; the token is 3 x size x size wide.
    """

    def __init__(self, size: int = 8):
        super().__init__()
        self.size = size

    @property
    def embed_width(self) -> int:
        return 3 * self.size**2

    def forward(self, reference_image: Tensor) -> Tensor:
        """(b, 3, h, w) in [-1, 1] -> (b, 1, 3 x size x size)."""
        return F.adaptive_avg_pool2d(reference_image, self.size).flatten(1)[:, None]


def clip_pixels(images: Tensor, size: int) -> Tensor:
    """Images (b, 3, h, w) in [-1, 1] -> their central squares (b, 3, size, size), in CLIP's range."""
    h, w = images.shape[-2:]
    side = min(h, w)
    top, left = (h - side) // 2, (w - side) // 2
    square = images[..., top : top + side, left : left + side].float()
    resized = F.interpolate(square, (size, size), mode="bicubic", antialias=True).clamp(-1, 1)
    mean = torch.tensor(CLIP_MEAN, device=images.device)[:, None, None]
    std = torch.tensor(CLIP_STD, device=images.device)[:, None, None]
    return (resized * 0.5 + 0.5 - mean) / std
