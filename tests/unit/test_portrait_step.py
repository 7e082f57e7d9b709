"""The part of a training step that both steps of Lmk2Video share, under mixed precision."""

from types import SimpleNamespace

import torch

from aniportrait.models.autoencoder import SDVae
from aniportrait.training.portrait_step import frame_latents

VAE = {
    "block_out_channels": [8, 8],
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 4,
    "scaling_factor": 0.18215,
}


def test_latents_encoded_in_bfloat16_are_noised_in_float32_as_those_prepared():
    """The noise has the latents' precision, and means of bfloat16 noises collide: NoiseAlarm would end good runs."""
    autoencoder = SDVae(sizes=VAE)
    networks = SimpleNamespace(
        encode=lambda frames: autoencoder.encode(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
    )
    batch = SimpleNamespace(frames=torch.zeros(1, 1, 3, 16, 16), latents=None)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert networks.encode(batch.frames).dtype == torch.bfloat16
        assert frame_latents(networks, batch).dtype == torch.float32
