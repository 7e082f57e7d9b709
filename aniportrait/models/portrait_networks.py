"""The five networks that turn a portrait and drawn landmarks into frames, and how they condition one another."""

from typing import Any, NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from aniportrait.models.denoising_unet import DenoisingUNet
from aniportrait.models.latent_space import AbsoluteLatents, PortraitRelativeLatents
from aniportrait.models.reference_net import ReferenceNet


class Portrait(NamedTuple):
    """What is known of portraits.

    Shapes: reference_features name -> (b, l, c); image_embeds (b, 1, d); reference_latents (b, c, h/8, w/8).
    """

    reference_features: dict[str, Tensor]
    image_embeds: Tensor
    reference_latents: Tensor


class Conditions(NamedTuple):
    """What the denoiser is told besides noisy latents and time: a Portrait, pose_features of (b, f, c, h, w) each."""

    reference_features: dict[str, Tensor]
    image_embeds: Tensor
    reference_latents: Tensor
    pose_features: tuple[Tensor, ...]


class PortraitNetworks(nn.Module):
    """ReferenceNet, PoseGuider and denoising UNet (trained), autoencoder and image encoder (frozen), latent space."""

    # Any: several classes each, with attributes that nn.Module's type does not know
    pose_guider: Any
    autoencoder: Any
    image_encoder: Any

    def __init__(
        self,
        reference_net: ReferenceNet,
        pose_guider: nn.Module,
        denoising_unet: DenoisingUNet,
        autoencoder: nn.Module,
        image_encoder: nn.Module,
        latent_space: AbsoluteLatents | PortraitRelativeLatents,
    ):
        super().__init__()
        self.reference_net = reference_net
        self.pose_guider = pose_guider
        self.denoising_unet = denoising_unet
        self.autoencoder = autoencoder.requires_grad_(False).eval()
        self.image_encoder = image_encoder.requires_grad_(False).eval()
        self.latent_space = latent_space

    def train(self, mode: bool = True) -> "PortraitNetworks":
        """Switch the mode of the trained networks; the frozen ones always stay in eval mode."""
        super().train(mode)
        self.autoencoder.eval()
        self.image_encoder.eval()
        return self

    @torch.no_grad()
    def encode(self, frames: Tensor, batch_size: int = 8) -> Tensor:
        """Frames (b, f, 3, h, w) in [-1, 1] -> the autoencoder's latents (b, f, c, h/8, w/8), some at a time."""
        flat = rearrange(frames, "b f c h w -> (b f) c h w")
        latents = torch.cat([self.autoencoder.encode(part) for part in flat.split(batch_size)])
        return rearrange(latents, "(b f) c h w -> b f c h w", b=frames.shape[0])

    @torch.no_grad()
    def decode(self, latents: Tensor, batch_size: int = 8) -> Tensor:
        """The autoencoder's latents (b, f, c, h, w) -> frames (b, f, 3, 8h, 8w) in [-1, 1], `batch_size` at a time."""
        flat = rearrange(latents, "b f c h w -> (b f) c h w")
        frames = torch.cat([self.autoencoder.decode(part) for part in flat.split(batch_size)])
        return rearrange(frames, "(b f) c h w -> b f c h w", b=latents.shape[0]).clamp(-1, 1)

    def conditions(
        self,
        reference_image: Tensor,
        reference_pose_image: Tensor,
        pose_image: Tensor,
        reference_latents: Tensor | None = None,
        image_embeds: Tensor | None = None,
    ) -> Conditions:
        """Everything that does not depend on noise or time, computed once.

        Args:
            reference_image: (b, 3, h, w) in [-1, 1]; reference_pose_image likewise.
            pose_image: (b, f, 3, h, w) in [-1, 1].
            reference_latents: (b, c, h/8, w/8) of the reference image, where they are known; image_embeds (b, 1, d)
                likewise. It is not looked at then.
        """
        portrait = self.portrait(reference_image, reference_latents, image_embeds)
        return Conditions(*portrait, self.pose_guider(pose_image, reference_pose_image))

    def portrait(
        self,
        reference_image: Tensor,
        reference_latents: Tensor | None = None,
        image_embeds: Tensor | None = None,
    ) -> Portrait:
        """What is known of portraits (b, 3, h, w) in [-1, 1]; latents and embeddings as for `conditions`."""
        if image_embeds is None:
            image_embeds = self.image_embeds(reference_image)
        if reference_latents is None:
            reference_latents = self.encode(reference_image[:, None])[:, 0]
        return Portrait(self.reference_net(reference_latents, image_embeds), image_embeds, reference_latents)

    @torch.no_grad()
    def image_embeds(self, reference_image: Tensor) -> Tensor:
        """(b, 3, h, w) in [-1, 1] -> (b, 1, d)."""
        return self.image_encoder(reference_image)
