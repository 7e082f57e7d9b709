"""Speed profiles change the weights' own settings, and what is asked for wins."""

import pytest
import torch

from aniportrait.pipelines.sampling_settings import SamplingSettings
from aniportrait.pipelines.speed import SPEEDS, speed_of

OWN = SamplingSettings(25, guidance_scale=3.5, guidance_interval=(0.1, 1.0), shared_noise=0.5)


def test_exact_is_what_the_weights_state():
    assert SPEEDS["exact"].settings(OWN, {"steps": None, "seed": None}) == OWN


@pytest.mark.parametrize(
    ("own_steps", "balanced", "fast"), [(25, 12, 8), (50, 25, 17), (4, 2, 2), (2, 2, 2), (1, 1, 1)]
)
def test_profiles_take_a_share_of_the_weights_own_steps_and_two_where_there_are_two(
    own_steps, balanced, fast
):
    own = SamplingSettings(own_steps)
    assert SPEEDS["balanced"].settings(own, {}).steps == balanced
    assert SPEEDS["fast"].settings(own, {}).steps == fast


@pytest.mark.parametrize("name", SPEEDS)
def test_what_is_asked_for_wins_over_the_profile(name):
    asked = {"steps": 7, "solver": "dpm", "guidance_interval": (0.0, 0.5), "guidance_scale": 1.5, "seed": 3}
    settings = SPEEDS[name].settings(OWN, asked)
    assert {key: getattr(settings, key) for key in asked} == asked
    assert settings.shared_noise == OWN.shared_noise


@pytest.mark.parametrize(("has_bf16", "of_fast"), [(True, "bf16"), (False, "fp32")])
def test_fast_takes_bf16_where_the_processor_has_it(monkeypatch, has_bf16, of_fast):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: has_bf16)
    assert SPEEDS["fast"].precision_on("cpu") == of_fast
    assert SPEEDS["fast"].precision_on("cuda:0") == "bf16"
    assert SPEEDS["exact"].precision_on("cpu") == "fp32"


def test_an_unknown_profile_is_named():
    with pytest.raises(ValueError, match="speed=quick must be one of exact, balanced, fast"):
        speed_of("quick")
