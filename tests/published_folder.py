"""A folder of published checkpoints at tiny size, with the original's file names, key names and layout.

The names come from diffusers, transformers and torch, whose modules the original is made of, and from its README; not
from the tables under test.
"""

import json
import math
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, Wav2Vec2Config, Wav2Vec2Model

from aniportrait.models.pose_guider import PublishedPoseGuider

CHANNELS = (32, 64, 64, 64)
WIDTH = 24  # of the image encoder's token
LATENT_DIM = 16
IDENTITIES = 5
POSE_LAYERS = 2
MOTION_FRAMES = 32
HEADS = "heads.pose_guider=4"
"""What no file of the folder says."""


def write_published_folder(folder: Path, seed: int = 0, dtype: torch.dtype = torch.float32) -> Path:
    """Everything that the original's README lists, random weights."""
    torch.manual_seed(seed)
    folder.mkdir(parents=True)
    unet = sd_unet()
    denoising = {key: value.clone() for key, value in unet.state_dict().items()}
    reference = {
        k: v for k, v in sd_unet().state_dict().items() if not k.startswith(("conv_norm_out", "conv_out"))
    }
    files = {
        "denoising_unet.pth": denoising,
        "reference_unet.pth": reference,
        "motion_module.pth": motion_module(),
        "pose_guider.pth": pose_guider(),
        "audio2mesh.pt": audio2mesh(),
        "audio2pose.pt": audio2pose(),
    }
    for name, state in files.items():
        torch.save({k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}, folder / name)
    (folder / "film_net_fp16.pt").write_bytes(b"a program, not weights")
    write_json(folder / "stable-diffusion-v1-5" / "unet" / "config.json", {**unet.config, "sample_size": 8})
    write_json(folder / "wav2vec2-base-960h" / "config.json", wav2vec2_config().to_dict())
    autoencoder().save_pretrained(folder / "sd-vae-ft-mse")
    image_encoder().save_pretrained(folder / "image_encoder")
    return folder


def sd_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        block_out_channels=CHANNELS,
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def motion_module(layers: int = 1, frames: int = MOTION_FRAMES) -> dict[str, Tensor]:
    places = [
        (f"down_blocks.{i}.motion_modules.{j}", c) for i, c in enumerate(CHANNELS) for j in range(layers)
    ]
    places += [
        (f"up_blocks.{i}.motion_modules.{j}", c)
        for i, c in enumerate(reversed(CHANNELS))
        for j in range(layers + 1)
    ]
    state = {}
    for place, c in [*places, ("mid_block.motion_modules.0", CHANNELS[-1])]:
        start = f"{place}.temporal_transformer."
        block = f"{start}transformer_blocks.0."
        shapes = {f"{start}norm": (c,), f"{start}proj_in": (c, c), f"{start}proj_out": (c, c)}
        shapes |= {f"{block}norms.0": (c,), f"{block}norms.1": (c,), f"{block}ff_norm": (c,)}
        shapes |= {f"{block}ff.net.0.proj": (8 * c, c), f"{block}ff.net.2": (c, 4 * c)}
        for i in (0, 1):
            attention = f"{block}attention_blocks.{i}."
            state |= {f"{attention}to_{name}.weight": 0.1 * torch.randn(c, c) for name in "qkv"}
            shapes[f"{attention}to_out.0"] = (c, c)
            state[f"{attention}pos_encoder.pe"] = sines(frames, c)
        for name, shape in shapes.items():
            state[f"{name}.weight"] = 0.1 * torch.randn(shape)
            state[f"{name}.bias"] = 0.1 * torch.randn(shape[0])
    return state


def pose_guider() -> dict[str, Tensor]:
    """Its module has the published names: tests/parity compares them with the published list."""
    guider = PublishedPoseGuider(CHANNELS, attention_heads=4, attention_head_dim=8)
    return {
        key: value + 0.1 * torch.rand_like(value) if value.is_floating_point() else value
        for key, value in guider.state_dict().items()
    }


def audio2mesh() -> dict[str, Tensor]:
    head = {"in_fn": nn.Linear(16, LATENT_DIM), "out_fn": nn.Linear(LATENT_DIM, 1404)}
    return _wav2vec2() | {f"{n}.{k}": v for n, layer in head.items() for k, v in layer.state_dict().items()}


def audio2pose() -> dict[str, Tensor]:
    layer = nn.TransformerDecoderLayer(LATENT_DIM, 8, 2 * LATENT_DIM, batch_first=True)
    parts = {
        "pose_map": nn.Linear(6, LATENT_DIM),
        "in_fn": nn.Linear(16, LATENT_DIM),
        "transformer_decoder": nn.TransformerDecoder(layer, POSE_LAYERS),
        "pose_map_r": nn.Linear(LATENT_DIM, 6),
        "id_embed": nn.Embedding(IDENTITIES, LATENT_DIM),
    }
    own = {f"{n}.{k}": v + 0.01 for n, module in parts.items() for k, v in module.state_dict().items()}
    return _wav2vec2() | own | {"PPE.pe": sines(600, LATENT_DIM)}


def wav2vec2_config() -> Wav2Vec2Config:
    return Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        conv_dim=[16] * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
    )


def autoencoder() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        norm_num_groups=4,
        scaling_factor=0.18215,
    )


def image_encoder() -> CLIPVisionModelWithProjection:
    config = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=16,
        patch_size=8,
        projection_dim=WIDTH,
    )
    return CLIPVisionModelWithProjection(config)


def sines(frames: int, width: int) -> Tensor:
    """(1, frames, width), written out as in "Attention is all you need"."""
    table = torch.zeros(1, frames, width)
    for i in range(frames):
        for j in range(0, width, 2):
            angle = i / 10000 ** (j / width)
            table[0, i, j], table[0, i, j + 1] = math.sin(angle), math.cos(angle)
    return table


def write_json(file: Path, content: dict) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, default=str))


def _wav2vec2() -> dict[str, Tensor]:
    """Under the names of transformers 4.30 and torch 2.0, with which the originals were written."""
    spelled = {
        "parametrizations.weight.original0": "weight_g",
        "parametrizations.weight.original1": "weight_v",
    }
    state = {}
    for key, value in Wav2Vec2Model(wav2vec2_config()).state_dict().items():
        for ours, theirs in spelled.items():
            key = key.replace(ours, theirs)
        state[f"audio_encoder.{key}"] = value
    return state
