"""At full size, without weights: every key and shape of the published files has its place in our networks."""

import json

import pytest
import torch
from golden import Golden
from published import denoising_unet, reference_net

from aniportrait.checkpoints.convert import (
    denoising_unet_from_published,
    denoising_unet_to_published,
    reference_net_from_published,
    reference_net_to_published,
)
from aniportrait.checkpoints.convert_audio import (
    audio2mesh_from_published,
    audio2mesh_to_published,
    audio2pose_from_published,
    audio2pose_to_published,
)
from aniportrait.models.audio2mesh import Audio2Mesh, PublishedHead
from aniportrait.models.audio_encoder import Wav2Vec2Encoder
from aniportrait.models.denoising_unet import DenoisingUNet
from aniportrait.models.pose_guider import PublishedPoseGuider
from aniportrait.models.published_audio2pose import PublishedAudio2Pose
from aniportrait.models.reference_net import ReferenceNet

pytestmark = pytest.mark.shared


@pytest.mark.parametrize("file", ["reference_unet", "denoising_unet", "motion_module", "pose_guider"])
def test_every_key_of_a_published_file_has_its_place_in_our_full_size_networks(shared, file):
    listing = json.loads((shared / "reference" / "checkpoint_keys" / f"{file}.pth.json").read_text())
    with torch.device("meta"):
        if file == "pose_guider":
            theirs, own = dict(listing), PublishedPoseGuider().state_dict()
        elif file == "reference_unet":
            theirs, own = reference_net_from_published(listing), ReferenceNet().state_dict()
        else:
            theirs, own = denoising_unet_from_published(listing), DenoisingUNet().with_motion().state_dict()
            wanted = file == "motion_module"
            own = {key: value for key, value in own.items() if ("motion_modules" in key) == wanted}
    assert {key: list(value.shape) for key, value in own.items()} == theirs


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


def test_our_weights_go_back_to_the_published_names(shared):
    root = shared / "parity"
    for kind, build, to_published in (
        ("denoising_unet", denoising_unet, denoising_unet_to_published),
        ("reference_unet", reference_net, reference_net_to_published),
    ):
        golden = Golden(root / kind, root)
        assert to_published(build(golden).state_dict()).keys() == golden.listed_shapes().keys()
