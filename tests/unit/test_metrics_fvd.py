"""FVD: what is shown to its network, and which program may be that network. The network here is the test's own."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aniportrait.checkpoints.tensor_files import WeightsError
from aniportrait.evaluation.fvd import FrechetVideoDistance, centre_crop
from aniportrait.evaluation.video_metric import MissingBackendError, NotScoredError
from aniportrait.evaluation.video_pair import ScoredVideo, VideoPair
from aniportrait.face.track import FaceTrack


class LightAndMotion(nn.Module):
    """Mean light of the window, then its change from the first to the last frame, in 400 numbers."""

    def forward(
        self, x: Tensor, rescale: bool = True, resize: bool = True, return_features: bool = False
    ) -> Tensor:
        if (
            rescale
            or resize
            or not return_features
            or x.shape[1] != 3
            or x.shape[3] != 224
            or x.shape[4] != 224
        ):
            raise ValueError("not the protocol")
        light = x.mean(dim=(1, 3, 4))
        features = torch.zeros(x.shape[0], 400)
        features[:, 0] = light.mean(dim=1)
        features[:, 1] = light[:, -1] - light[:, 0]
        return features


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("fvd") / "i3d.pt"
    torch.jit.script(LightAndMotion()).save(str(path))
    return path


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def fvd(program):
    return FrechetVideoDistance(str(program), sha256=sha256(program))


def video(light):
    """Grey frames of 30 x 40, brightness in 0 ... 255."""
    frames = torch.tensor(light, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 30, 40)
    zeros = np.zeros((len(frames), 1, 3), np.float32)
    return ScoredVideo(frames, FaceTrack(zeros, zeros, zeros, zeros, np.ones(len(frames), bool)), None, 25.0)


def test_a_clip_gives_a_feature_for_each_whole_window(fvd):
    features = fvd.features(video([0] * 16 + [51] * 15 + [102] + [255] * 10))
    assert features.shape == (2, 400)
    expected = [[-1.0, 0.0], [2 * (51 * 15 + 102) / 16 / 255 - 1, 0.4]]
    assert torch.allclose(features[:, :2], torch.tensor(expected), atol=1e-6)


def test_fvd_is_the_distance_of_the_windows_and_counts_them(fvd):
    real = [0] * 16 + [51] * 16
    brighter = [102] * 16 + [153] * 16
    fvd.update(fvd.measure(VideoPair("a", video(brighter), video(real))))
    assert fvd.compute().item() == pytest.approx(0.8**2, rel=1e-5)
    assert (fvd.clips, fvd.samples, fvd.frames) == (1, (2, 2), 32)
    assert "2 features of 400 numbers" in fvd.note


def test_a_clip_shorter_than_the_window_is_not_scored_and_a_window_has_10_frames_at_least(fvd, program):
    with pytest.raises(NotScoredError, match="15 frames are fewer than the window of 16"):
        fvd.features(video([0] * 15))
    assert FrechetVideoDistance(str(program), 10, sha256(program)).features(video([0] * 29)).shape == (2, 400)
    with pytest.raises(ValueError, match=r"window \(9\) must be at least 10"):
        FrechetVideoDistance(str(program), 9, sha256(program))


def test_the_network_sees_the_middle_of_the_frame():
    frames = torch.zeros(2, 3, 224, 448, dtype=torch.uint8)
    frames[..., 112:336] = 255
    assert (centre_crop(frames) == 1).all()
    assert torch.equal(centre_crop(frames.transpose(-1, -2)), torch.ones(2, 3, 224, 224))
    # 41 times 224 / 41 is more than 224 to a computer: rounded up it would be 225.
    noise = torch.randint(
        0, 256, (1, 3, 41, 41), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    whole = F.interpolate(noise.float() / 255, (224, 224), mode="bilinear")
    assert torch.allclose(centre_crop(noise), 2 * whole - 1, atol=1e-6)
    assert centre_crop(torch.zeros(1, 3, 1080, 1001, dtype=torch.uint8)).shape == (1, 3, 224, 224)


def test_everything_that_a_figure_depends_on_is_told(fvd, program):
    for fact in (
        sha256(program),
        "NOT the published",
        "16 frames",
        "shorter side to 224",
        "centre crop",
        "[-1, 1]",
    ):
        assert fact in fvd.backend


def test_a_program_is_not_even_read_unless_it_is_the_trusted_one(program, monkeypatch):
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("loaded before it was trusted"))
    with pytest.raises(WeightsError, match=rf"metrics\.fvd\.sha256={sha256(program)}"):
        FrechetVideoDistance(str(program))


def test_a_missing_file_is_named_with_its_source_and_its_setting(tmp_path):
    for path in (None, str(tmp_path / "absent.pt")):
        with pytest.raises(
            MissingBackendError, match=r"i3d_torchscript.pt.*dropbox.*metrics\.fvd\.weights=PATH"
        ):
            FrechetVideoDistance(path)
