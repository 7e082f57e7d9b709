"""Windows of long videos."""

from itertools import pairwise

import pytest
import torch

from aniportrait.diffusion.context import ClosedLoopWindows, OpenWindows

LENGTHS = [1, 2, 15, 16, 17, 20, 28, 29, 40, 100, 301]


@pytest.mark.parametrize("frames", LENGTHS)
@pytest.mark.parametrize(
    "windows", [OpenWindows(), ClosedLoopWindows(), OpenWindows(8, 0), OpenWindows(5, 4)]
)
def test_every_frame_is_in_a_window_and_has_weight(windows, frames):
    weight = torch.zeros(frames)
    for window in windows(frames):
        assert len(window.frames) == len(window.weights) == min(windows.context_length, frames)
        weight.index_add_(0, window.frames, window.weights)
    assert float(weight.min()) > 0


@pytest.mark.parametrize("frames", LENGTHS)
def test_open_windows_run_forward_and_share_at_least_the_overlap(frames):
    plan = OpenWindows(16, 4)(frames)
    assert int(plan[0].frames[0]) == 0
    assert int(plan[-1].frames[-1]) == frames - 1
    for window in plan:
        assert torch.equal(window.frames.diff(), torch.ones(len(window.frames) - 1))
    for left, right in pairwise(plan):
        assert left.frames[-1] - right.frames[0] + 1 >= 4
    if frames > 16:
        assert len(plan) == -(-(frames - 4) // 12)


def test_open_windows_fade_at_inner_ends_only():
    first, last = OpenWindows(16, 4)(28)
    assert first.weights[0] == last.weights[-1] == 1
    assert torch.allclose(first.weights[-4:], torch.tensor([0.8, 0.6, 0.4, 0.2]))
    assert torch.allclose(first.weights[-4:] + last.weights[:4], torch.ones(4))


def test_the_published_windows_wrap_onto_the_first_frames():
    last = ClosedLoopWindows(16, 4)(100)[-1]
    assert last.frames.tolist() == [96, 97, 98, 99, *range(12)]
    assert set(last.weights.tolist()) == {1.0}


@pytest.mark.parametrize("windows", [OpenWindows, ClosedLoopWindows])
def test_an_overlap_as_long_as_the_window_is_refused(windows):
    with pytest.raises(
        ValueError, match=r"context_overlap \(16\) must be smaller than context_length \(16\)"
    ):
        windows(16, 16)
    with pytest.raises(ValueError, match=r"context_length \(0\)"):
        windows(0, 0)


@pytest.mark.parametrize("windows", [OpenWindows, ClosedLoopWindows])
def test_windows_of_any_length_share_a_quarter_unless_told(windows):
    assert [windows(length).overlap for length in (3, 4, 16, 24)] == [0, 1, 4, 6]
    assert windows(16, 7).overlap == 7
