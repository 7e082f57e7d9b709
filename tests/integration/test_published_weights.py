"""A published folder becomes one weights folder, which alone animates a portrait, and goes back."""

import json
from pathlib import Path

import numpy as np
import published_folder
import pytest
import torch
from diffusers import AutoencoderKL
from entries import composed
from PIL import Image
from published_folder import HEADS
from scipy.io import wavfile
from transformers import CLIPVisionModelWithProjection

from aniportrait.checkpoints.store import WeightsError, open_weights
from aniportrait.checkpoints.tensor_files import read_tensors
from aniportrait.cli.animate import animate
from aniportrait.cli.convert import convert
from aniportrait.data.clip_codec import decode_frames
from aniportrait.data.media import probe, read_video
from aniportrait.data.shards import ShardIndex, read_sample
from aniportrait.diffusion.context import ClosedLoopWindows
from aniportrait.pipelines.sampling_settings import SamplingSettings
from aniportrait.pipelines.saved_networks import (
    load_network,
    load_portrait_networks,
    own_sampling,
    portrait_pipeline,
    predicted_motion,
)

SECONDS = 0.6
NOWHERE = "paths.pretrained=/nowhere"
FILES = (
    "audio2mesh.pt",
    "audio2pose.pt",
    "reference_unet.pth",
    "denoising_unet.pth",
    "motion_module.pth",
    "pose_guider.pth",
)


@pytest.fixture(scope="module")
def face_and_voice(shards, tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    index = ShardIndex.load(shards)
    sample = read_sample(index.folder, next(entry for entry in index.of_split("test") if entry.has_audio))
    Image.fromarray(decode_frames(sample.video, [0])[0]).save(folder / "face.png")
    speech = sample.audio[: int(SECONDS * 16_000)]
    wavfile.write(folder / "voice.wav", 16_000, (speech * 32767).astype(np.int16))
    return [f"portrait={folder}/face.png", f"audio={folder}/voice.wav"]


def test_the_folder_says_what_the_networks_are(imported):
    card = json.loads((imported / "model.json").read_text())["networks"]
    assert set(card) == {path.stem for path in imported.glob("*.safetensors")}
    assert len(card) == 8
    for network in card.values():
        assert network["settings"] == {"fps": 30.0, "image_size": 64, "motion_frames": 16}
        assert network["choices"]["noise_schedule"] == "published_sampling"
        assert network["choices"]["pose_guider"] == "published"
    assert card["denoising_unet"]["sizes"]["block_out_channels"] == [32, 64, 64, 64]
    assert card["autoencoder"]["sizes"]["sizes"]["scaling_factor"] == 0.18215


def test_the_folder_says_how_the_published_videos_were_made(imported):
    weights = open_weights(imported)
    pipeline = portrait_pipeline(weights, Path("/nowhere"))
    schedule, windows = pipeline.scheduler.config, pipeline.windows
    assert (schedule["beta_schedule"], schedule["beta_start"], schedule["beta_end"]) == (
        "linear",
        0.00085,
        0.012,
    )
    assert own_sampling(weights) == SamplingSettings(steps=25, guidance_scale=3.5, shared_noise=0)
    assert isinstance(windows, ClosedLoopWindows)
    assert (windows.context_length, windows.overlap) == (16, 4)
    pose_guider = pipeline.networks.pose_guider
    assert (pose_guider.together, pose_guider.input_range) == (True, (-1, 509))
    head = predicted_motion(weights, Path("/nowhere")).motion
    assert (head.rotation_scale, head.smoothing, head.chunk_frames) == (0.5, 7, 150)


def test_the_folder_alone_makes_a_video_of_the_sound_s_length_at_30_fps(imported, face_and_voice, tmp_path):
    out = tmp_path / "speaking.mp4"
    with composed(
        "animate", f"weights={imported}", *face_and_voice, f"out={out}", "steps=1", NOWHERE
    ) as config:
        animate(config)
    assert len(list(read_video(out, 30))) == round(SECONDS * 30)
    assert probe(out).fps == 30
    assert (probe(out).width, probe(out).height) == (64, 64)


def test_the_loaded_encoders_say_what_the_published_ones_say(imported, published):
    with composed("animate", f"weights={imported}", "portrait=none", NOWHERE) as config:
        networks = load_portrait_networks(open_weights(imported), config.paths.pretrained, motion=True)
        audio2pose = load_network(open_weights(imported), "audio2pose", config.paths.pretrained)
    pictures = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    vae = AutoencoderKL.from_pretrained(published / "sd-vae-ft-mse", low_cpu_mem_usage=False)
    expected = vae.encode(pictures).latent_dist.mean * 0.18215
    assert torch.allclose(networks.autoencoder.encode(pictures), expected, atol=1e-6)
    clip = CLIPVisionModelWithProjection.from_pretrained(published / "image_encoder")
    ours = networks.image_encoder.clip.state_dict()
    assert all(torch.equal(value, ours[key]) for key, value in clip.state_dict().items())
    theirs = read_tensors(published / "audio2pose.pt")
    assert torch.equal(audio2pose.identity.weight, theirs["id_embed.weight"])
    assert audio2pose.encoder.model.config.num_attention_heads == 2
    unet = read_tensors(published / "denoising_unet.pth")
    assert torch.equal(networks.denoising_unet.unet.conv_in.weight, unet["conv_in.weight"])


def test_the_way_back_gives_the_files_bit_for_bit(imported, published, tmp_path):
    with composed("convert", f"weights={imported}", f"out={tmp_path}/back") as config:
        convert(config)
    for name in FILES:
        theirs, back = read_tensors(published / name), read_tensors(tmp_path / "back" / name)
        assert theirs.keys() == back.keys()
        for key, value in theirs.items():
            if key.endswith(".pe"):
                assert torch.allclose(value, back[key], atol=1e-5), key
            elif ".multihead_attn.in_proj_" in key:  # queries and keys of a softmax over one key
                assert torch.equal(value.chunk(3)[2], back[key].chunk(3)[2]), key
            else:
                assert torch.equal(value, back[key]), key
    for folder, library in (
        ("sd-vae-ft-mse", AutoencoderKL),
        ("image_encoder", CLIPVisionModelWithProjection),
    ):
        one, other = (
            library.from_pretrained(root / folder).state_dict() for root in (published, tmp_path / "back")
        )
        assert all(torch.equal(value, other[key]) for key, value in one.items())
    again = tmp_path / "again"
    with composed("convert", f"published={tmp_path}/back", f"out={again}", HEADS) as config:
        convert(config)
    assert (again / "model.json").read_text() == (imported / "model.json").read_text()
    for name, state in open_weights(imported).states.items():
        own = open_weights(again).states[name]
        assert all(torch.equal(value, own[key]) for key, value in state.items())


def test_a_part_of_the_folder_is_imported_and_the_rest_named(published, tmp_path, caplog):
    part = tmp_path / "pretrained_model"
    part.mkdir()
    (part / "audio2mesh.pt").symlink_to(published / "audio2mesh.pt")
    with composed("convert", f"published={part}", f"out={tmp_path}/out", "heads.audio_encoder=2") as config:
        convert(config)
    assert set(open_weights(tmp_path / "out").networks) == {"audio2mesh"}
    said = [record.getMessage() for record in caplog.records if "not in the result" in record.getMessage()]
    assert len(said) == 1
    for name in (
        "audio2pose.pt",
        "denoising_unet.pth",
        "sd-vae-ft-mse/",
        "image_encoder/",
        "pose_guider.pth",
    ):
        assert name in said[0]


def test_without_audio2pose_the_head_can_be_still(imported, published, face_and_voice, tmp_path):
    without = tmp_path / "without"
    networks = (
        "only=[audio2mesh,reference_net,denoising_unet,motion_module,pose_guider,autoencoder,image_encoder]"
    )
    with composed("convert", f"published={published}", f"out={without}", HEADS, networks) as config:
        convert(config)
    settings = [f"weights={without}", *face_and_voice, f"out={tmp_path}/video.mp4", "steps=1", "duration=0.1"]
    with composed("animate", *settings) as config, pytest.raises(WeightsError, match="add head_pose=still"):
        animate(config)
    with composed("animate", *settings, "head_pose=still") as config:
        animate(config)
    assert len(list(read_video(tmp_path / "video.mp4", 30))) == 3


BAD = {
    "no folder": (["published=absent"], "is no folder"),
    "an empty folder": (["published={empty}"], "holds none of the published files"),
    "neither way": ([], "either published=FOLDER or weights=FOLDER"),
    "both ways": (
        ["published={published}", "weights={imported}"],
        "either published=FOLDER or weights=FOLDER",
    ),
    "an unknown network": (["published={published}", "only=[film]"], "film, which must be one of"),
    "heads that do not divide": (["published={published}", "heads.unet=5"], "must divide every width"),
    "a result that exists": (["published={published}", "out={imported}"], "exists already"),
    "other statistics": (
        ["published={published}", "guider_statistics=mean"],
        "must be one of batch, running",
    ),
    "a pose guider of other widths": (["published={pose_guider}"], "they do not belong together"),
    "motion modules of other widths": (["published={motion_module}"], "they do not belong together"),
    "heads that are no number": (
        ["published={published}", "norm_num_groups=0"],
        r"norm_num_groups \(0\) must be",
    ),
}


def with_other_widths(published, folder):
    """The published folder, but for the network that the new one is named after."""
    folder.mkdir()
    for path in published.iterdir():
        if path.stem != folder.name:
            (folder / path.name).symlink_to(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(published_folder, "CHANNELS", (64, 64, 64, 64))
        torch.save(getattr(published_folder, folder.name)(), folder / f"{folder.name}.pth")
    return folder


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_converted_is_one_sentence_and_leaves_nothing(case, published, imported, tmp_path):
    words, said = BAD[case]
    (tmp_path / "empty").mkdir()
    (tmp_path / "results").mkdir()
    paths = {"published": published, "imported": imported, "empty": tmp_path / "empty"}
    paths |= {
        name: with_other_widths(published, tmp_path / name) for name in ("pose_guider", "motion_module")
    }
    settings = [f"out={tmp_path}/results/new", *(word.format(**paths) for word in words)]
    with composed("convert", *settings) as config, pytest.raises((ValueError, OSError), match=said):
        convert(config)
    assert list((tmp_path / "results").iterdir()) == []


def test_our_own_kinds_of_network_are_not_exported(imported, tmp_path):
    card = json.loads((imported / "model.json").read_text())
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for file in imported.glob("*.safetensors"):
        (mixed / file.name).symlink_to(file)
    card["networks"]["pose_guider"]["choices"]["pose_guider"] = "reference_aware"
    card["networks"]["denoising_unet"]["choices"]["noise_schedule"] = "clean_prediction"
    (mixed / "model.json").write_text(json.dumps(card))
    with composed("convert", f"weights={mixed}", f"out={tmp_path}/back") as config:
        convert(config)
    assert not (tmp_path / "back" / "pose_guider.pth").exists()
    assert not (tmp_path / "back" / "denoising_unet.pth").exists()  # it says clean latents
    assert (tmp_path / "back" / "reference_unet.pth").is_file()


def weights_with(card, imported, folder):
    """Settings of an animation from the imported weights under another card, in a folder of their own."""
    for file in imported.glob("*.safetensors"):
        (folder / file.name).symlink_to(file)
    (folder / "model.json").write_text(json.dumps(card))
    return composed("animate", f"weights={folder}", "portrait=none")


def test_a_card_that_leaves_a_choice_open_is_refused(imported, tmp_path):
    card = json.loads((imported / "model.json").read_text())
    del card["networks"]["autoencoder"]["choices"]["latent_space"]
    with (
        weights_with(card, imported, tmp_path) as config,
        pytest.raises(WeightsError, match=r"card of autoencoder chooses no latent_space"),
    ):
        load_network(open_weights(tmp_path), "autoencoder", config.paths.pretrained)


def test_the_pose_guider_can_run_with_its_training_s_statistics(published, tmp_path):
    with composed(
        "convert",
        f"published={published}",
        f"out={tmp_path}/out",
        HEADS,
        "guider_statistics=running",
        "only=[pose_guider]",
    ) as config:
        convert(config)
    with composed("animate", f"weights={tmp_path}/out", "portrait=none", NOWHERE) as config:
        guider = load_network(open_weights(tmp_path / "out"), "pose_guider", config.paths.pretrained)
    assert not guider.together
    with composed("convert", f"weights={tmp_path}/out", f"out={tmp_path}/back") as config:
        convert(config)
    theirs, back = (read_tensors(root / "pose_guider.pth") for root in (published, tmp_path / "back"))
    assert all(torch.equal(value, back[key]) for key, value in theirs.items())


@pytest.mark.parametrize("value", ["a.Class", {"deep": {"er": 1}}, {"_target_": "os.system"}])
def test_a_card_cannot_say_more_than_numbers(value, imported, tmp_path):
    card = json.loads((imported / "model.json").read_text())
    card["networks"]["autoencoder"]["sizes"]["sizes"] = value
    with (
        weights_with(card, imported, tmp_path) as config,
        pytest.raises(ValueError, match=r"autoencoder sets sizes to .*, which must be a number"),
    ):
        load_network(open_weights(tmp_path), "autoencoder", config.paths.pretrained)
