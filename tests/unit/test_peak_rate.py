"""What a device could do: Lightning's figure where there is one, else a measured one."""

import pytest
import torch

from aniportrait.training import peak_rate as module
from aniportrait.training.peak_rate import compute_dtype, peak_rate


def test_a_cpu_is_measured_and_its_share_is_not_called_mfu():
    before = torch.get_rng_state()
    name, rate = peak_rate(torch.device("cpu"), torch.float32)
    assert name == "of_matrix_rate"
    assert 1e8 < rate < 1e14
    assert torch.equal(torch.get_rng_state(), before)


def test_a_device_whose_peak_is_known_has_an_mfu_in_the_numbers_it_computes_in(monkeypatch):
    known = {torch.bfloat16: 989_000_000_000_000, torch.float32: 67_000_000_000_000}
    monkeypatch.setattr(module, "get_available_flops", lambda device, dtype: known[dtype])
    assert peak_rate(torch.device("cuda"), compute_dtype("bf16-mixed")) == ("mfu", 989e12)
    assert peak_rate(torch.device("cuda"), compute_dtype("32-true")) == ("mfu", 67e12)


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        ("16-mixed", torch.float16),
        ("bf16-true", torch.bfloat16),
        ("64-true", torch.float64),
        ("32", torch.float32),
    ],
)
def test_a_precision_is_what_matrices_are_multiplied_in(precision, dtype):
    assert compute_dtype(precision) is dtype
