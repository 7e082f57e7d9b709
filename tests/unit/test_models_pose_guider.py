"""PoseGuiders at tiny sizes."""

import pytest
import torch

from aniportrait.models.pose_guider import PublishedPoseGuider, ReferenceAwarePoseGuider

CHANNELS = (16, 24, 32)


def reference_aware():
    torch.manual_seed(0)
    return ReferenceAwarePoseGuider(CHANNELS, width=8, attention_heads=2)


def published(**kwargs):
    torch.manual_seed(0)
    return PublishedPoseGuider((32, 32, 64), attention_heads=2, attention_head_dim=8, **kwargs)


def images(b=2, f=3, side=64):
    generator = torch.Generator().manual_seed(0)
    return (
        torch.rand(b, f, 3, side, side, generator=generator) * 2 - 1,
        torch.rand(b, 3, side, side, generator=generator) * 2 - 1,
    )


@pytest.mark.parametrize(("guider", "channels"), [(reference_aware, (16, 24, 32)), (published, (32, 32, 64))])
def test_a_feature_for_the_input_and_one_for_each_level(guider, channels):
    widths, sides = (channels[0], *channels), (8, 4, 2, 2)
    shapes = [tuple(feature.shape) for feature in guider()(*images())]
    assert shapes == [(2, 3, c, s, s) for c, s in zip(widths, sides, strict=True)]


def test_the_reference_aware_guider_starts_silent():
    assert all(not feature.any() for feature in reference_aware()(*images()))


def test_after_one_step_its_output_depends_on_the_portrait_s_landmarks():
    guider, (pose, portrait) = reference_aware(), images()
    optimizer = torch.optim.SGD(guider.parameters(), lr=0.1)
    sum((feature - 1).square().mean() for feature in guider(pose, portrait)).backward()
    assert all(parameter.grad is not None for parameter in guider.parameters())
    optimizer.step()
    with torch.no_grad():
        own, other = guider(pose, portrait), guider(pose, -portrait)
        moved = guider(-pose, portrait)
    for i in range(4):
        assert not torch.allclose(own[i], other[i], atol=1e-5)
        assert not torch.allclose(own[i], moved[i], atol=1e-5)


def test_each_frame_and_each_sample_is_guided_by_itself():
    guider, (pose, portrait) = reference_aware(), images()
    for scale in guider.scales:
        torch.nn.init.normal_(scale.project.weight)
    with torch.no_grad():
        together = guider(pose, portrait)
        alone = guider(pose[1:, 2:], portrait[1:])
    for whole, part in zip(together, alone, strict=True):
        assert torch.allclose(whole[1:, 2:], part, atol=1e-5 * float(part.abs().max()))


def test_the_published_guider_never_sees_the_portrait_s_landmarks():
    guider, (pose, portrait) = published(), images()
    for own, other in zip(guider(pose, portrait), guider(pose, -portrait), strict=True):
        assert torch.equal(own, other)
    assert float(guider(pose)[0].detach().abs().max()) == 0
    assert float(guider(pose)[1].detach().abs().max()) > 0


def loud(**kwargs):
    """A published guider that says something at every scale."""
    guider = published(**kwargs).eval()
    torch.nn.init.normal_(guider.final_proj.weight, generator=torch.Generator().manual_seed(1))
    return guider


def furthest(features, others):
    """The largest difference of two pyramids, in standard deviations of the first."""
    return max(float((a - b).std() / a.std()) for a, b in zip(features, others, strict=True))


def test_the_range_of_upstream_s_sampling_is_twice_the_byte_less_one():
    byte = torch.randint(0, 221, (2, 3, 3, 64, 64), generator=torch.Generator().manual_seed(0)).float()
    sampling, plain = loud(input_range=(-1.0, 509.0)), loud()
    with torch.no_grad():
        assert furthest(plain(2 * byte - 1), sampling(byte / 127.5 - 1)) < 1e-5


@pytest.mark.parametrize("attend", [True, False])
def test_batch_statistics_forgive_a_range_but_for_the_padding(attend):
    pose = images()[0]
    with torch.no_grad():
        trained, sampled = (loud(input_range=r, attend=attend)(pose) for r in ((-1, 1), (-1, 509)))
    assert 1e-3 < furthest(trained, sampled) < 1


def test_running_statistics_take_no_other_range_than_that_of_training():
    pose = images()[0]
    guider = loud(statistics="running")
    with torch.no_grad():
        usual, large = guider(pose)[0], guider(255 * pose + 254)[0]
    assert float(large.std() / usual.std()) > 100
    with pytest.raises(ValueError, match=r"input_range \(-1.0, 509.0\) must be \(-1.0, 1.0\) with running"):
        published(statistics="running", input_range=(-1.0, 509.0))


@pytest.mark.parametrize("statistics", ["batch", "running"])
def test_a_guider_says_whether_frames_that_come_together_change_one_another(statistics):
    guider, pose = loud(statistics=statistics), images(b=1, f=4)[0]
    with torch.no_grad():
        change = furthest([feature[:, :2] for feature in guider(pose)], guider(pose[:, :2]))
    assert (change > 1e-3) == guider.together == (statistics == "batch")
    assert not reference_aware().together


def test_batch_statistics_outside_training_leave_the_stored_ones_alone():
    guider = published().eval()
    before = {key: value.clone() for key, value in guider.state_dict().items()}
    guider(*images())
    assert all(torch.equal(value, before[key]) for key, value in guider.state_dict().items())


def test_what_cannot_be_guided_is_refused():
    with pytest.raises(ValueError, match="must be one of batch, running"):
        published(statistics="frozen")
    with pytest.raises(ValueError, match=r"width \(6\)"):
        ReferenceAwarePoseGuider(CHANNELS, width=6, attention_heads=4)
    with pytest.raises(ValueError, match="60x64 must have sides that 8 divides"):
        reference_aware()(torch.zeros(1, 1, 3, 60, 64), torch.zeros(1, 3, 60, 64))


def test_moved_landmarks_change_what_the_guider_says_by_more_than_a_tenth():
    guider = ReferenceAwarePoseGuider((32, 64), width=16)
    for scale in guider.scales:
        torch.nn.init.normal_(scale.project.weight, generator=torch.Generator().manual_seed(0))
    canvas = torch.full((1, 2, 3, 64, 64), -1.0)
    canvas[:, 0, 1, 20:22, 10:50] = 0.5  # the same few lines, elsewhere: nearly all of both pictures is black
    canvas[:, 1, 1, 40:42, 10:50] = 0.5
    first = guider(canvas, canvas[:, 0])[0][0]
    assert (first[0] - first[1]).abs().mean() > 0.1 * first.abs().mean()
