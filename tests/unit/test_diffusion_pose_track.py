"""A PoseTrack says of a window what the guider says, and asks it no more often than it must."""

import pytest
import torch
from torch import nn

from aniportrait.diffusion.context import ClosedLoopWindows, OpenWindows
from aniportrait.diffusion.pose_track import PoseTrack
from aniportrait.models.pose_guider import PublishedPoseGuider, ReferenceAwarePoseGuider


class Counting(nn.Module):
    """A guider of one level that counts the frames it is shown; `together` adds their mean."""

    def __init__(self, together=False):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.together = together
        self.calls = []

    def forward(self, pose_image, reference_pose_image):
        self.calls.append(pose_image.shape[1])
        feature = pose_image * self.weight + reference_pose_image[:, None]
        return (feature + pose_image.mean(dim=1, keepdim=True),) if self.together else (feature,)


def track(guider, frames=40, side=4, **kwargs):
    draw = torch.Generator().manual_seed(0)
    pose = torch.randn(1, frames, 3, side, side, generator=draw)
    return PoseTrack(guider, pose, torch.randn(1, 3, side, side, generator=draw), **kwargs)


@torch.no_grad()
def sampled(track, windows, steps=3, frames=40):
    return [[track(window.frames) for window in windows(frames)] for _ in range(steps)]


@pytest.mark.parametrize("windows", [OpenWindows(), ClosedLoopWindows()])
def test_each_frame_is_computed_once_for_all_windows_and_steps(windows):
    guider = Counting()
    features = sampled(track(guider), windows)
    assert sum(guider.calls) == 40
    for step in features:
        for window, (feature,) in zip(windows(40), step, strict=True):
            pose = track(guider)
            assert torch.equal(
                feature, pose.pose_image[:, window.frames] + pose.reference_pose_image[:, None]
            )


@pytest.mark.parametrize("windows", [OpenWindows(), ClosedLoopWindows()])
def test_frames_that_change_one_another_are_computed_once_per_window(windows):
    guider = Counting(together=True)
    features = sampled(track(guider), windows)
    assert guider.calls == [16] * len(windows(40))
    pose = track(guider)
    for window, (feature,) in zip(windows(40), features[-1], strict=True):
        frames = pose.pose_image[:, window.frames]
        expected = frames + pose.reference_pose_image[:, None] + frames.mean(dim=1, keepdim=True)
        assert torch.equal(feature, expected)


@pytest.mark.parametrize("together", [False, True])
def test_memory_is_bounded_and_what_does_not_fit_is_computed_again(together):
    whole, bounded = Counting(together), Counting(together)
    room = 17 * 3 * 4 * 4 * 4
    held = track(bounded, kept_bytes=room)
    for step, same in zip(sampled(track(whole), OpenWindows()), sampled(held, OpenWindows()), strict=True):
        assert all(torch.equal(a, b) for (a,), (b,) in zip(step, same, strict=True))
    assert sum(bounded.calls) > sum(whole.calls)
    kept = [feature for features in held._kept.values() for feature in features]
    assert 0 < sum(feature.untyped_storage().nbytes() for feature in kept) <= room


@pytest.mark.parametrize("kept", [17, 40])
def test_what_a_gpu_has_room_for_is_kept_there(kept):
    """The meta device stands for one: what lies there would not come back from main memory."""
    guider = Counting().to("meta")
    held = track(guider, kept_bytes=0, kept_there=kept * 3 * 4 * 4 * 4)
    sampled(held, OpenWindows())
    assert len(held._kept) == kept
    assert (sum(guider.calls) == 40) == (kept == 40)
    held.forget(40)
    assert held._free_bytes == {torch.device("meta"): kept * 3 * 4 * 4 * 4, torch.device("cpu"): 0}


@pytest.mark.parametrize(
    "guider",
    [
        ReferenceAwarePoseGuider((16, 24), width=8, attention_heads=2),
        PublishedPoseGuider((32, 32), 2, 8, statistics="batch", input_range=(-1, 509)),
        PublishedPoseGuider((32, 32), 2, 8, statistics="running"),
    ],
    ids=["reference_aware", "published", "published_running"],
)
def test_a_real_guider_s_window_is_what_it_says_of_those_frames_alone(guider):
    guider.eval()
    for name, parameter in guider.named_parameters():
        if "project" in name or "final_proj" in name:
            nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1))
    pose = track(guider, frames=6, side=32)
    with torch.no_grad():
        for window in ClosedLoopWindows(4, 1)(6):
            expected = guider(pose.pose_image[:, window.frames], pose.reference_pose_image)
            for feature, of_window in zip(pose(window.frames), expected, strict=True):
                assert torch.allclose(feature, of_window, atol=1e-5 * float(of_window.abs().max()))
