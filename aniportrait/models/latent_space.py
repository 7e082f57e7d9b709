"""What the denoiser's latents are counted from: nothing, or the portrait's own latents."""

from torch import Tensor


class AbsoluteLatents:
    """The autoencoder's latents as they are: every published network's choice."""

    def encode(self, latents: Tensor, reference_latents: Tensor) -> Tensor:
        """Latents of frames (b, f, c, h, w), of the portrait (b, c, h, w) -> what is noised, (b, f, c, h, w)."""
        return latents

    def decode(self, latents: Tensor, reference_latents: Tensor) -> Tensor:
        """The inverse of `encode`."""
        return latents


class PortraitRelativeLatents:
    """How a frame differs from the portrait: what the denoiser cannot say is then the portrait, not a blur.

    For small networks and short trainings, which would else spend all they have on repeating the portrait.

    Args:
        scale: what differences are multiplied by, so that they are about as large as the noise.
    """

    def __init__(self, scale: float = 1.0):
        self.scale = scale

    def encode(self, latents: Tensor, reference_latents: Tensor) -> Tensor:
        """Latents of frames (b, f, c, h, w), of the portrait (b, c, h, w) -> what is noised, (b, f, c, h, w)."""
        return (latents - reference_latents[:, None]) * self.scale

    def decode(self, latents: Tensor, reference_latents: Tensor) -> Tensor:
        """The inverse of `encode`."""
        return latents / self.scale + reference_latents[:, None]
