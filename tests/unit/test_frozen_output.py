"""Signs of an output that is always the same: 0 for it, 1 for the truth itself."""

import pytest
import torch

from aniportrait.training.frozen_output import change, contrast, difference

TRUTH = torch.randn(3, 2, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def test_the_truth_has_its_own_contrast_and_difference():
    assert contrast(TRUTH, TRUTH) == pytest.approx(1)
    assert difference(TRUTH, TRUTH) == pytest.approx(1)
    assert contrast(TRUTH / 4, TRUTH) == pytest.approx(0.25)


def test_flat_samples_have_no_contrast_although_clips_and_channels_differ():
    flat = TRUTH.mean(dim=(-2, -1), keepdim=True).expand_as(TRUTH)
    assert contrast(flat, TRUTH) < 1e-6
    assert difference(flat, TRUTH) > 0.01


def test_one_sample_for_all_clips_does_not_differ_although_it_has_contrast():
    same = TRUTH[:1].expand_as(TRUTH)
    assert difference(same, TRUTH) == 0
    assert contrast(same, TRUTH) > 0.5
    with pytest.raises(ValueError, match=r"^clips \(1\)"):
        difference(TRUTH[:1], TRUTH[:1])


def test_change_is_measured_against_the_truths_deviation():
    assert change(TRUTH, TRUTH, TRUTH) == 0
    assert change(TRUTH + 0.5, TRUTH, TRUTH) == pytest.approx(0.5, rel=0.05)
