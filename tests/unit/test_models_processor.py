"""What each kind of processor is given to compute with."""

import pytest
import torch

from aniportrait.models.processor import emulates_bf16, onednn_is_faster, warn_of_emulation


@pytest.fixture
def without_bf16(monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)


@pytest.fixture
def with_bf16(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)


@pytest.mark.parametrize(
    ("capability", "faster"), [("AVX512", True), ("AVX2", False), ("DEFAULT", False), ("SVE256", False)]
)
def test_float32_goes_to_onednn_with_avx512_alone(monkeypatch, capability, faster):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert onednn_is_faster(torch.float32) is faster
    assert not onednn_is_faster(torch.float64)


def test_nothing_goes_to_a_onednn_that_torch_was_built_without(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    assert not onednn_is_faster(torch.float32)
    assert not onednn_is_faster(torch.bfloat16)
    assert emulates_bf16("cpu")


def test_bf16_goes_to_onednn_where_the_processor_has_it(with_bf16, caplog):
    assert onednn_is_faster(torch.bfloat16)
    assert not emulates_bf16("cpu")
    warn_of_emulation("precision=bf16", "cpu")
    assert not caplog.records


def test_who_asks_for_emulated_bf16_is_told(without_bf16, caplog):
    assert not onednn_is_faster(torch.bfloat16)
    assert emulates_bf16(torch.device("cpu"))
    assert not emulates_bf16("cuda:1")
    warn_of_emulation("precision=bf16", "cuda")
    assert not caplog.records
    warn_of_emulation("precision=bf16", "cpu")
    assert "precision=bf16 is emulated on this processor" in caplog.text
