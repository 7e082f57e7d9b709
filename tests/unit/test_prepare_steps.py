"""prepare.py on shards at hand: a look into them, and latents that leave the training's loss as it was."""

import json
import shutil

import numpy as np
import pytest
import torch
from drawn_clips import clip
from entries import composed
from hydra.utils import instantiate
from PIL import Image

from aniportrait.cli.encoders import encoder_name
from aniportrait.cli.networks import build_portrait_networks
from aniportrait.cli.prepare import prepare_shards
from aniportrait.cli.sentences import sentence_of
from aniportrait.data.latents import Latents
from aniportrait.data.portrait_data import PortraitData
from aniportrait.data.shards import ShardIndex, write_shards
from aniportrait.training.portrait_step import (
    ConditionDropout,
    ObjectiveSettings,
    batch_conditions,
    portrait_loss,
)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "my shards (1)"
    clips = [clip("a", 12), clip("b", 9, audio=False, identity="someone"), clip("v", 10, split="val")]
    write_shards(clips, path, 25.0, 32, clips_per_shard=2)
    return path


def run(*overrides):
    with composed("prepare", *overrides) as config:
        prepare_shards(config)


def test_show_lists_every_sample_and_draws_some(folder, capsys, tmp_path):
    run("step=show", f'data.folder="{folder}"', f'out="{tmp_path}/a look.png"', "show.samples=2")
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["key", "split", "identity", "frames", "seconds", "sound", "MB", "shard"]
    assert table[2].split()[:6] == ["b", "train", "someone", "9", "0.4", "-"]
    assert "train: 2 samples, 2 identities, 1 s" in table
    assert table[-1] == "2 shards of 32x32 pixels at 25 fps"
    sheet = np.asarray(Image.open(tmp_path / "a look.png"))
    assert sheet.shape == (2 * (256 + 40), 4 * 256, 3)
    first = sheet[:256, :256]
    assert (first == (90, 255, 90)).all(axis=-1).sum() > 100, "landmarks are drawn"
    strip = sheet[256:296, 512:]
    assert (strip == (120, 180, 255)).all(axis=-1).any(), "so is the sound"


def test_drawn_talkers_have_the_size_and_rate_that_are_asked_for_and_no_partitions(tmp_path):
    people = (
        "source=synthetic",
        "+source.identities=1",
        "+source.clips_per_identity=1",
        "+source.seconds=0.5",
    )
    run(*people, "image_size=64", "fps=20", "workers=1", f"out={tmp_path}")
    index = ShardIndex.load(tmp_path)
    assert (index.image_size, index.fps) == (64, 20)
    for setting in ("partition=1/2", "step=merge"):
        with pytest.raises(ValueError, match=f"{setting}: source=synthetic"):
            run(*people, setting, f"out={tmp_path}")


def test_show_goes_into_a_folder_under_its_own_name(folder, tmp_path):
    run("step=show", f'data.folder="{folder}"', f'out="{tmp_path}"')
    assert (tmp_path / "show.png").is_file()


def test_an_unknown_step_is_refused():
    with pytest.raises(ValueError, match=r"step \(polish\) must be one of"):
        run("step=polish")


def test_latents_in_bf16_differ_by_rounding_and_other_precisions_are_refused(folder, monkeypatch, caplog):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    encoders = ("autoencoder=space_to_depth", "image_encoder=tiny", "image_size=32")

    def embedding(precision):
        shutil.rmtree(folder / "latents", ignore_errors=True)
        run("step=latents", f'data.folder="{folder}"', *encoders, f"encoding.precision={precision}")
        return Latents.load(folder).read(ShardIndex.load(folder).samples[0], [0, 1])[1].astype(np.float32)

    whole, half = embedding("32"), embedding("bf16")
    assert 0 < np.abs(half - whole).max() < 0.05 * np.abs(whole).max()
    assert caplog.text.count("encoding.precision=bf16 is emulated on this processor") == 1
    with pytest.raises(ValueError, match=r"^encoding.precision \(fp16\) must be 32 or bf16$"):
        embedding("fp16")


def test_the_loss_is_the_same_with_latents_as_with_pictures(folder):
    encoders = ("autoencoder=space_to_depth", "image_encoder=thumbnail", "image_size=64")
    run("step=latents", f'data.folder="{folder}"', *encoders)
    origin = json.loads((folder / "latents" / "index.json").read_text())["origin"]
    with composed("train", "experiment=stage1_reference", "model=tiny", "pose_guider=published") as config:
        torch.manual_seed(0)
        networks = build_portrait_networks(config, motion=False).eval()
        scheduler = instantiate(config.noise_schedule)
    names = encoder_name(networks.autoencoder), encoder_name(networks.image_encoder)
    assert (origin["autoencoder"], origin["image_encoder"], origin["image_size"]) == (*names, 64)

    def batch_of(latents):
        data = PortraitData(folder, batch_size=2, image_size=64, frames=3, latents=latents)
        data.encoders = lambda: names
        return data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)

    def loss(batch):
        generators = [torch.Generator().manual_seed(k) for k in range(len(batch.keys))]
        settings = ObjectiveSettings(ConditionDropout(), 0.0, 0.0, 3.0, 1.0)
        with torch.no_grad():
            conditions = batch_conditions(networks, batch)
            return portrait_loss(networks, scheduler, conditions, batch, settings, generators)[0]

    read, seen = batch_of(latents=True), batch_of(latents=False)
    assert read.latents is not None
    assert seen.latents is None
    rounded = seen._replace(
        latents=networks.encode(seen.frames).half(),
        reference_latents=networks.autoencoder.encode(seen.reference_image).half(),
        image_embeds=networks.image_embeds(seen.reference_image).half(),
    )
    torch.testing.assert_close(loss(read), loss(rounded), rtol=1e-4, atol=0)
    torch.testing.assert_close(loss(read), loss(seen), rtol=1e-2, atol=0)  # the rest is float16's rounding


def test_an_error_in_a_loading_process_is_one_sentence_too():
    wrapped = ValueError(
        "Caught ShardError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
        '  File "x.py", line 1, in y\naniportrait.data.shards.ShardError: more than max_bad (1) clips: a\n'
    )
    assert sentence_of(wrapped) == "more than max_bad (1) clips: a"
