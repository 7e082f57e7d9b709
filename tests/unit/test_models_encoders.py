"""Autoencoders and image encoders."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from published_folder import image_encoder
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, Wav2Vec2Config, Wav2Vec2Model

from aniportrait.models.audio_encoder import Wav2Vec2Encoder
from aniportrait.models.autoencoder import SDVae, SpaceToDepth, Taef2
from aniportrait.models.image_encoder import ClipImageEncoder, ThumbnailEncoder, TinyImageEncoder, clip_pixels


def pictures(n=2, h=32, w=48):
    return torch.rand(n, 3, h, w, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("scaling_factor", [1.0, 2.0])
def test_space_to_depth_loses_nothing(scaling_factor):
    autoencoder = SpaceToDepth(scaling_factor=scaling_factor)
    latents = autoencoder.encode(pictures())
    assert latents.shape == (2, autoencoder.latent_channels, 4, 6)
    assert float(latents.abs().max()) == pytest.approx(scaling_factor, abs=0.01)
    assert torch.equal(autoencoder.decode(latents), pictures())


def test_sd_vae_scales_by_the_factor_of_its_config(tmp_path):
    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    stored = AutoencoderKL(
        **blocks, block_out_channels=(8, 8), norm_num_groups=4, latent_channels=4, scaling_factor=0.5
    )
    stored.save_pretrained(tmp_path / "my vae")
    autoencoder = SDVae(tmp_path / "my vae")
    assert (autoencoder.latent_channels, autoencoder.factor) == (4, 2)
    latents = autoencoder.encode(pictures())
    assert torch.allclose(latents, stored.encode(pictures()).latent_dist.mean * 0.5, atol=1e-6)
    assert autoencoder.decode(latents).shape == (2, 3, 32, 48)
    assert float(autoencoder.decode(latents * 100).abs().max()) <= 1
    assert not any(parameter.requires_grad for parameter in autoencoder.parameters())


def test_clip_looks_at_the_middle_of_the_portrait(tmp_path):
    image_encoder().save_pretrained(tmp_path / "model" / "image_encoder")
    whole, direct = (
        ClipImageEncoder(tmp_path / "model"),
        ClipImageEncoder(tmp_path / "model" / "image_encoder"),
    )
    embeds = whole(pictures())
    assert embeds.shape == (2, 1, whole.embed_width) == (2, 1, 24)
    assert torch.equal(embeds, direct(pictures()))
    assert torch.equal(embeds, whole(pictures()[..., 8:40]))


def test_clip_pixels_have_clip_s_mean_and_deviation():
    grey = clip_pixels(torch.zeros(1, 3, 20, 20), 8)
    assert torch.allclose(
        grey[0, :, 0, 0],
        (0.5 - torch.tensor([0.48145466, 0.4578275, 0.40821073]))
        / torch.tensor([0.26862954, 0.26130258, 0.27577711]),
    )
    assert grey.shape == (1, 3, 8, 8)


def test_the_tiny_image_encoder_is_the_same_every_time_and_tells_pictures_apart():
    torch.manual_seed(11)
    state = torch.get_rng_state()
    one = TinyImageEncoder(embed_width=48)
    assert torch.equal(torch.get_rng_state(), state)
    embeds = one(pictures())
    assert embeds.shape == (2, 1, one.embed_width) == (2, 1, 48)
    assert torch.equal(embeds, TinyImageEncoder(embed_width=48)(pictures()))
    red, blue = torch.full((1, 3, 32, 32), -1.0), torch.full((1, 3, 32, 32), -1.0)
    red[:, 0], blue[:, 2] = 1, 1
    assert float((one(red) - one(blue)).norm() / one(red).norm()) > 0.1


@pytest.mark.parametrize("path", ["/nowhere/vae", "./vae", "vae", "a/b/c"])
def test_an_absent_autoencoder_is_one_sentence(path):
    with pytest.raises(
        FileNotFoundError, match=r"autoencoder.path=.* is no folder: get stabilityai/sd-vae-ft-mse"
    ):
        SDVae(path)


def test_a_folder_without_weights_is_one_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"autoencoder.path=.* holds no weights that fit"):
        SDVae(tmp_path)
    with pytest.raises(
        FileNotFoundError, match=r"image_encoder.path=.*lambdalabs/sd-image-variations-diffusers"
    ):
        ClipImageEncoder(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"taef2_encoder.pth does not exist.*autoencoder.path"):
        Taef2(tmp_path)


@pytest.mark.parametrize("damage", [b"", b"no tensors", None])
def test_damaged_weights_are_one_sentence(tmp_path, damage):
    stored = CLIPVisionModelWithProjection(
        CLIPVisionConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2)
    )
    stored.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:999] if damage is None else damage)
    with pytest.raises(FileNotFoundError, match=r"image_encoder.path=.* holds no weights that fit"):
        ClipImageEncoder(tmp_path)
    (tmp_path / "taef2_encoder.pth").write_bytes(damage or b"PK")
    with pytest.raises(FileNotFoundError, match=r"taef2_encoder.pth is damaged or holds another network's"):
        Taef2(tmp_path)


def test_the_folder_of_pretrained_files_is_not_looked_for_on_the_hub(monkeypatch):
    """Whoever owns the name there could say what is loaded."""
    monkeypatch.setattr(AutoencoderKL, "from_pretrained", lambda *_, **__: pytest.fail("the hub was asked"))
    with pytest.raises(FileNotFoundError, match=r"is no folder: get .* \(python download.py does\)"):
        SDVae(Path("pretrained_model/sd-vae-ft-mse"))


def test_encoders_of_another_kind_or_precision(tmp_path):
    image_encoder().half().save_pretrained(tmp_path / "half")
    assert ClipImageEncoder(tmp_path / "half").clip.dtype == torch.float32
    other = image_encoder()
    other.config.hidden_act = "gelu"
    other.save_pretrained(tmp_path / "gelu")
    with pytest.raises(ValueError, match="has the activation gelu, it must be quick_gelu"):
        ClipImageEncoder(tmp_path / "gelu")
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    small |= {"conv_dim": (8,) * 7, "num_conv_pos_embedding_groups": 2}
    Wav2Vec2Model(Wav2Vec2Config(**small, feat_proj_dropout=0.7)).half().save_pretrained(tmp_path / "own")
    ours = Wav2Vec2Encoder(tmp_path / "own").model
    assert (ours.feature_projection.dropout.p, ours.dtype) == (0.0, torch.float32)
    Wav2Vec2Model(Wav2Vec2Config(**small, feat_extract_norm="layer")).save_pretrained(tmp_path / "layer")
    with pytest.raises(ValueError, match='feat_extract_norm "layer" must be "group"'):
        Wav2Vec2Encoder(tmp_path / "layer")


def test_a_hub_out_of_reach_is_one_sentence(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("We couldn't connect to 'https://huggingface.co'")

    monkeypatch.setattr(AutoencoderKL, "from_pretrained", refuse)
    with pytest.raises(
        FileNotFoundError, match=r"owner/name is neither a folder nor within reach on the hub"
    ):
        SDVae("owner/name")


@pytest.mark.shared
@pytest.mark.parametrize(("side", "decibels"), [(64, 27.2), (128, 30.0)])
def test_taef2_is_as_good_as_its_authors_say(shared, side, decibels):
    cv2 = pytest.importorskip("cv2")
    picture = cv2.imread(str(shared / "data" / "portraits" / "aniportrait_lyl.png"))[..., ::-1]
    picture = cv2.resize(np.ascontiguousarray(picture), (side, side), interpolation=cv2.INTER_AREA)
    image = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1
    autoencoder = Taef2(shared / "models")
    latents = autoencoder.encode(image)
    assert latents.shape == (1, 32, side // 8, side // 8)
    error = float((autoencoder.decode(latents) - image).square().mean()) / 4
    assert -10 * np.log10(error) == pytest.approx(decibels, abs=1)


def test_a_thumbnail_of_one_colour_is_that_colour():
    colour = torch.tensor([0.5, -0.25, 1.0])
    token = ThumbnailEncoder(4)(colour[None, :, None, None].expand(2, 3, 32, 48))
    assert token.shape == (2, 1, ThumbnailEncoder(4).embed_width)
    assert torch.allclose(token[0, 0].unflatten(0, (3, 16)), colour[:, None].expand(3, 16))
