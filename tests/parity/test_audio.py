"""Our audio models, given the original's weights, say what the original said."""

import json

import pytest
import torch
from safetensors.torch import load_file

from aniportrait.checkpoints.convert_audio import (
    audio2mesh_from_published,
    audio2mesh_to_published,
    audio2pose_from_published,
    audio2pose_to_published,
)
from aniportrait.models.audio2mesh import Audio2Mesh, PublishedHead
from aniportrait.models.audio_encoder import Wav2Vec2Encoder, zero_mean_unit_variance
from aniportrait.models.published_audio2pose import PublishedAudio2Pose

pytestmark = pytest.mark.shared


def fixture(shared, name):
    folder = shared / "parity" / name
    config = json.loads((folder / "config.json").read_text())
    tensors = load_file(folder / "io.safetensors")
    weights = {k: v.float() for k, v in load_file(folder / "weights.safetensors").items()}
    return config, tensors, weights


def relative_difference(ours, theirs):
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("case", ["a", "b"])
def test_audio2mesh_reproduces_the_original(shared, case):
    config, tensors, weights = fixture(shared, "audio2mesh")
    encoder = Wav2Vec2Encoder(config=config["wav2vec2"])
    model = Audio2Mesh(encoder, PublishedHead(encoder.width, config["model"]["latent_dim"])).eval()
    model.load_state_dict(audio2mesh_from_published(weights))
    with torch.no_grad():
        hidden = encoder.encode(tensors[f"in.{case}.audio"], config["seq_len"][case])
        offsets = model.head(hidden)
    assert relative_difference(hidden, tensors[f"out.{case}.last_hidden_state"]) < 1e-4
    assert relative_difference(offsets.flatten(2), tensors[f"out.{case}"]) < 1e-4


@pytest.mark.parametrize("case", ["a", "b"])
def test_audio2pose_reproduces_the_original(shared, case):
    config, tensors, weights = fixture(shared, "audio2pose")
    model = PublishedAudio2Pose(
        Wav2Vec2Encoder(config=config["wav2vec2"]), latent_dim=config["model"]["latent_dim"]
    ).eval()
    model.load_state_dict(audio2pose_from_published(weights))
    head_pose = model.sample(
        tensors[f"in.{case}.audio"], config["seq_len"][case], identity=tensors[f"in.{case}.id"]
    )
    assert relative_difference(head_pose, tensors[f"out.{case}"]) < 1e-4


def test_audio_is_normalised_as_the_original_normalises_it(shared):
    tensors = load_file(shared / "parity" / "audio_features" / "io.safetensors")
    head = tensors["out.audio_feature_head"]
    louder = 0.1 * head[None] + 0.3
    expected = (head - head.mean()) / head.std(correction=0)
    assert torch.allclose(zero_mean_unit_variance(louder)[0], expected, atol=1e-4)


def test_published_key_lists_map_onto_our_models_and_back(shared):
    folder = shared / "reference" / "checkpoint_keys"
    config = {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
    }
    with torch.device("meta"):
        encoder = Wav2Vec2Encoder(config=config)
        models = {
            "audio2mesh": Audio2Mesh(encoder, PublishedHead()),
            "audio2pose": PublishedAudio2Pose(encoder),
        }
    tables = {
        "audio2mesh": (audio2mesh_from_published, audio2mesh_to_published),
        "audio2pose": (audio2pose_from_published, audio2pose_to_published),
    }
    for name, model in models.items():
        shapes = json.loads((folder / f"{name}.pt.json").read_text())
        published = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
        from_published, to_published = tables[name]
        ours = from_published(published)
        assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in model.state_dict().items()}
        back = to_published(ours)
        assert {k: v.shape for k, v in back.items()} == {
            k: v.shape for k, v in published.items() if k != "PPE.pe"
        }
