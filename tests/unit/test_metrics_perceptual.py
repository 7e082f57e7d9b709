"""Perceptual distances: published keys, and figures against a computation of their own."""

from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scored_pairs import noise, pair

from aniportrait.checkpoints.tensor_files import WeightsError
from aniportrait.evaluation.lpips import LPIPS
from aniportrait.evaluation.perceptual_distance import weighted_distance
from aniportrait.evaluation.stlpips import PACKAGE, ShiftTolerantLPIPS
from aniportrait.evaluation.video_metric import MissingBackendError

# Layer by layer: c number, stride, padding (a convolution), b (a blur), r (what is negative becomes 0), p size, stride
# (the greatest in a window), t (compared). From the papers' tables and the published files' key names.
STEPS = {
    ("plain", "alex"): "c0,4,2 r t p3,2 c3,1,2 r t p3,2 c6,1,1 r t c8,1,1 r t c10,1,1 r t",
    ("shift", "alex"): "c0,1,2 b r t p3,1 b c5,1,2 r t p3,1 b c9,1,1 r t c11,1,1 r t c13,1,1 r t",
    (
        "plain",
        "vgg",
    ): "c0,1,1 r c2,1,1 r t p2,2 c5,1,1 r c7,1,1 r t p2,2 c10,1,1 r c12,1,1 r c14,1,1 r t p2,2 "
    "c17,1,1 r c19,1,1 r c21,1,1 r t p2,2 c24,1,1 r c26,1,1 r c28,1,1 r t",
    (
        "shift",
        "vgg",
    ): "c0,1,1 r c2,1,1 r t p2,1 b c6,1,1 r c8,1,1 r t p2,1 b c12,1,1 r c14,1,1 r c16,1,1 r t p2,1 b "
    "c20,1,1 r c22,1,1 r c24,1,1 r t p2,1 b c28,1,1 r c30,1,1 r c32,1,1 r t",
}
WIDTHS = {
    "alex": ((64, 3, 11), (192, 64, 5), (384, 192, 3), (256, 384, 3), (256, 256, 3)),
    "vgg": ((64, 3, 3), (64, 64, 3), (128, 64, 3), (128, 128, 3), (256, 128, 3), (256, 256, 3), (256, 256, 3),
            (512, 256, 3), *[(512, 512, 3)] * 5),
}  # fmt: skip
HEADS = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}


@cache
def drawn(network, kind):
    """(convolution's number -> weight and bias, heads), random."""
    generator = torch.Generator().manual_seed(0)
    numbers = [int(step[1:].split(",")[0]) for step in STEPS[kind, network].split() if step[0] == "c"]
    convolutions = {
        number: (
            torch.randn(wider, width, size, size, generator=generator) * (2 / (width * size * size)) ** 0.5,
            torch.randn(wider, generator=generator) * 0.1,
        )
        for number, (wider, width, size) in zip(numbers, WIDTHS[network], strict=True)
    }
    heads = [torch.rand(1, width, 1, 1, generator=generator) for width in HEADS[network]]
    return convolutions, heads


def named(convolutions, prefix):
    return {
        f"{prefix(number)}{number}.{part}": tensor
        for number, both in convolutions.items()
        for part, tensor in zip(("weight", "bias"), both, strict=True)
    }


def linear(heads):
    return {f"lin{number}.model.1.weight": head for number, head in enumerate(heads)}


def lpips_files(folder, network):
    convolutions, heads = drawn(network, "plain")
    classifier = {"classifier.6.weight": torch.zeros(3, 4)}
    torch.save(named(convolutions, lambda _: "features.") | classifier, folder / "features.pth")
    torch.save(linear(heads), folder / "heads.pth")
    return str(folder / "features.pth"), str(folder / "heads.pth")


def stlpips_file(folder, network):
    convolutions, heads = drawn(network, "shift")
    ends = (1, 6, 10, 12, 99) if network == "alex" else (3, 9, 17, 25, 99)
    state = named(convolutions, lambda number: f"net.slice{1 + sum(number > end for end in ends)}.")
    state |= {"scaling_layer.shift": torch.zeros(1, 3, 1, 1), "net.slice2.4.filt": torch.zeros(64, 1, 3, 3)}
    torch.save(state | linear(heads), folder / "shift.pth")
    return str(folder / "shift.pth")


def blurred(maps):
    """Rows, then columns, one sum of shifted pictures each."""
    padded = np.pad(maps, ((0, 0), (2, 2), (2, 2)), mode="reflect")
    rows = (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:])[:, ::2] / 4
    return ((rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:])[..., ::2]) / 4


def expected_distance(one, other, network, kind):
    """Two pictures (3, h, w) uint8, each by itself, in float64."""
    convolutions, heads = drawn(network, kind)

    def unit_features(picture):
        colours = picture.double().numpy() / 255
        maps = (2 * colours - 1 - np.array([-0.030, -0.088, -0.188])[:, None, None]) / np.array(
            [0.458, 0.448, 0.450]
        )[:, None, None]
        found = []
        for step in STEPS[kind, network].split():
            numbers = [int(number) for number in step[1:].split(",") if number]
            if step[0] == "c":
                weight, bias = (tensor.double() for tensor in convolutions[numbers[0]])
                maps = F.conv2d(torch.from_numpy(maps)[None], weight, bias, numbers[1], numbers[2])[0].numpy()
            elif step[0] == "p":
                maps = F.max_pool2d(torch.from_numpy(maps)[None], numbers[0], numbers[1])[0].numpy()
            elif step == "b":
                maps = blurred(maps)
            elif step == "r":
                maps = np.maximum(maps, 0)
            else:
                found.append(maps / (np.sqrt((maps**2).sum(axis=0)) + 1e-10))
        return found

    return sum(
        float((((a - b) ** 2) * head[0].double().numpy()).sum(axis=0).mean())
        for a, b, head in zip(unit_features(one), unit_features(other), heads, strict=True)
    )


@pytest.mark.parametrize("network", ["alex", "vgg"])
def test_lpips_is_the_weighted_distance_of_unit_features(tmp_path, network):
    metric = LPIPS(network, *lpips_files(tmp_path, network))
    ours, real = noise(2, 32), noise(2, 32, seed=1)
    expected = np.mean([expected_distance(a, b, network, "plain") for a, b in zip(ours, real, strict=True)])
    assert metric.measure(pair(ours, real))["figure"].item() == pytest.approx(expected, rel=1e-4)
    assert metric.measure(pair(real, real))["figure"].item() == 0.0
    assert {"alex": "AlexNet", "vgg": "VGG16"}[network] in metric.backend


@pytest.mark.parametrize("network", ["alex", "vgg"])
def test_shift_tolerant_lpips_blurs_where_lpips_skips(tmp_path, network):
    metric = ShiftTolerantLPIPS(network, stlpips_file(tmp_path, network))
    ours, real = noise(1, 32), noise(1, 32, seed=1)
    expected = expected_distance(ours[0], real[0], network, "shift")
    assert metric.measure(pair(ours, real))["figure"].item() == pytest.approx(expected, rel=1e-4)
    assert metric.measure(pair(real, real))["figure"].item() == 0.0


def test_the_packages_networks_forgive_a_shift_that_noise_of_its_size_is_not_forgiven():
    try:
        metric = ShiftTolerantLPIPS("alex")
    except MissingBackendError as error:
        pytest.skip(str(error))
    real = F.avg_pool2d(noise(1, 132).float(), 5, 1).round().byte()  # 128 pixels, softened
    moved = real.roll(1, dims=-1)
    error = (moved.float() - real.float()).flatten()
    mixed = error[torch.randperm(len(error), generator=torch.Generator().manual_seed(0))].reshape(real.shape)
    noisy = (real.float() + mixed).clamp(0, 255).byte()
    near, far = (metric.measure(pair(video, real))["figure"].item() for video in (moved, noisy))
    assert 0.0 < near < far / 4


def test_a_distance_is_between_directions_and_not_lengths():
    features = torch.tensor([[3.0, 4.0], [6.0, 8.0], [0.0, 0.0], [4.0, -3.0]])[:, :, None, None]
    weights = torch.tensor([1.0, 10.0])[None, :, None, None]
    same, turned = features[[0, 1]], features[[0, 3]]
    assert weighted_distance(same, weights).item() == pytest.approx(0.0, abs=1e-12)
    assert weighted_distance(turned, weights).item() == pytest.approx(0.2**2 + 10 * 1.4**2)
    assert weighted_distance(features[[0, 2]], weights).item() == pytest.approx(0.6**2 + 10 * 0.8**2)


def test_what_is_missing_is_named_with_its_source_and_its_setting(tmp_path, monkeypatch):
    features, _ = lpips_files(tmp_path, "alex")
    with pytest.raises(
        MissingBackendError, match=r"alexnet-owt-7be5be79.pth and set metrics.lpips_alex.weights="
    ):
        LPIPS("alex")
    with pytest.raises(MissingBackendError, match=r"v0.1/alex.pth and set metrics.lpips_alex.heads=PATH"):
        LPIPS("alex", features)
    with pytest.raises(
        MissingBackendError, match=r"metrics.lpips_vgg.weights=absent.pth is no file: get .*vgg16"
    ):
        LPIPS("vgg", "absent.pth")
    monkeypatch.setattr("importlib.metadata.files", lambda name: [])
    with pytest.raises(MissingBackendError, match=f"pip install --no-deps {PACKAGE}==0.0.2"):
        ShiftTolerantLPIPS("alex")


def test_weights_of_another_network_are_refused(tmp_path):
    features, heads = lpips_files(tmp_path, "alex")
    with pytest.raises(WeightsError, match=r"missing features.2.weight"):
        LPIPS("vgg", features, heads)


def test_a_network_moves_with_its_metric_and_is_not_trained(tmp_path):
    metric = LPIPS("alex", *lpips_files(tmp_path, "alex"))
    assert not any(parameter.requires_grad for parameter in metric.parameters())
    assert {tensor.device.type for tensor in metric.to("meta").distance.state_dict().values()} == {"meta"}
