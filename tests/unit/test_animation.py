"""An animation is the same frames however it is taken: one by one, as a file, or as a file that was stopped."""

from dataclasses import replace

import av
import numpy as np
import pytest
from small_portraits import SIDE, small_pipeline

from aniportrait.data.media import read_video
from aniportrait.diffusion.context import ClosedLoopWindows, OpenWindows
from aniportrait.face.crop import SquareCrop
from aniportrait.face.track import FaceTrack
from aniportrait.pipelines.animation import Animation, Performance
from aniportrait.pipelines.animator import Request, pasting
from aniportrait.pipelines.interpolation import keyframe_indices
from aniportrait.pipelines.label import labelled
from aniportrait.pipelines.picture import Picture
from aniportrait.pipelines.sampling_settings import SamplingSettings

FRAMES = 40
WINDOWS = OpenWindows(8, 2)


class StoppedError(Exception):
    """What a kill looks like from inside."""


def animation(windows=WINDOWS, stride=1, solver="ddim", seed=0, finish=iter, frames=FRAMES) -> Animation:
    draw = np.random.default_rng(0)
    face = draw.random((1, 478, 3)).astype(np.float32)
    track = FaceTrack(face, np.zeros((1, 468, 3)), np.eye(4)[None], np.zeros((1, 52)), np.ones(1, bool))
    picture = Picture(draw.integers(0, 256, (SIDE, SIDE, 3), np.uint8), track, SquareCrop(0, 0, SIDE, SIDE))
    sway = 0.02 * np.sin(np.arange(frames) / 3)[:, None, None]
    points = (face[:, :468, :2] + sway).astype(np.float32)
    settings = SamplingSettings(steps=3, seed=seed, solver=solver, shared_noise=0.5)
    return Animation(
        small_pipeline(windows), picture, Performance(points, 25.0, None), settings, stride, finish
    )


def stopping(after: int):
    """A progress callback that raises once so many steps are done."""

    def report(work: str, done: int, total: int) -> None:
        if done > after:
            raise StoppedError

    return report


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("windows", [OpenWindows(8, 2), ClosedLoopWindows(8, 2)])
def test_every_frame_comes_once_and_sampled_ones_are_those_of_the_pipeline(windows, stride):
    made = animation(windows, stride)
    frames = list(made)
    assert len(frames) == len(made) == FRAMES
    assert {frame.shape for frame in frames} == {(SIDE, SIDE, 3)}
    indices = keyframe_indices(FRAMES, stride)
    picture, points = made._picture, made.performance.points[indices]
    sampled = made._pipeline(picture.image, picture.track.landmarks[0], points, made._settings)
    assert all(np.array_equal(frames[k], frame) for k, frame in zip(indices, sampled, strict=True))


@pytest.mark.parametrize(("stride", "solver"), [(1, "ddim"), (2, "unipc"), (3, "dpm")])
def test_a_file_that_was_stopped_on_the_way_is_byte_for_byte_that_of_one_go(stride, solver, tmp_path):
    whole = animation(stride=stride, solver=solver).save(tmp_path / "whole.mp4").read_bytes()
    for after in (1, 3, 5):
        out = tmp_path / f"stopped_{after}.mp4"
        with pytest.raises(StoppedError):
            animation(stride=stride, solver=solver).save(out, stopping(after))
        assert not out.exists()
        assert animation(stride=stride, solver=solver).save(out).read_bytes() == whole
    names = ["stopped_1.mp4", "stopped_3.mp4", "stopped_5.mp4", "whole.mp4"]
    assert sorted(file.name for file in tmp_path.iterdir()) == names


def test_what_is_finished_is_not_made_again(tmp_path):
    heard = []
    out = tmp_path / "out.mp4"
    with pytest.raises(StoppedError):
        animation().save(out, stopping(14))
    animation().save(out, lambda work, done, total: heard.append((work, done, total)))
    assert heard[0][1] > 9
    assert heard[-1] == ("sampling", 21, 21)


def test_another_animation_does_not_go_on_with_the_parts_of_this_one(tmp_path):
    out, other = tmp_path / "out.mp4", tmp_path / "other.mp4"
    with pytest.raises(StoppedError):
        animation(seed=0).save(out, stopping(14))
    animation(seed=1).save(out)
    animation(seed=1).save(other)
    assert out.read_bytes() == other.read_bytes()


def test_frames_are_finished_and_the_file_says_that_it_is_synthetic(tmp_path):
    made = animation(finish=lambda frames: map(labelled, frames), frames=5)
    plain = list(animation(frames=5))
    assert all(np.array_equal(a, labelled(b)) for a, b in zip(made, plain, strict=True))
    out = animation(frames=5).save(tmp_path / "out.mp4", metadata={"title": "A test"})
    assert len(list(read_video(out, None))) == 5
    with av.open(str(out)) as container:
        assert "Synthetic" in container.metadata["comment"]
        assert container.metadata["title"] == "A test"


def test_a_long_video_of_a_still_face_does_not_drift():
    made = animation(frames=400)
    made.performance.points[:] = made.performance.points[:1]
    frames = np.stack(list(made)).astype(np.float64)
    changes = np.abs(np.diff(frames, axis=0)).mean()
    beginning, end = frames[:50].mean(axis=0), frames[-50:].mean(axis=0)
    assert np.abs(end - beginning).mean() < changes, "less than from one frame to the next"


def test_a_film_is_gone_on_with_only_where_every_frame_would_be_the_same():
    same = animation()._identity()
    assert animation()._identity() == same
    larger = animation()
    larger._pipeline.image_size = 2 * SIDE
    moved = animation()
    moved.performance.points[7, 3, 1] += 1e-6
    changed = [
        larger,
        moved,
        animation(seed=1),
        animation(stride=2),
        animation(solver="dpm"),
        animation(ClosedLoopWindows(8, 2)),
        animation(frames=FRAMES - 1),
    ]
    identities = [each._identity() for each in changed]
    assert len({same, *identities}) == 1 + len(changed)


def test_what_frames_are_pasted_into_belongs_to_a_film():
    picture = animation()._picture
    image = np.zeros((90, 120, 3), np.uint8)
    request = Request(image, audio=__file__, paste_back=True)
    told = pasting(request, image, picture)
    elsewhere = replace(picture, crop=SquareCrop(1, 0, 1 + SIDE, SIDE))
    outside = image.copy()
    outside[-1, -1] = 1
    assert pasting(request, image.copy(), picture) == told
    assert len({told, pasting(request, outside, picture), pasting(request, image, elsewhere)}) == 3
    assert pasting(replace(request, paste_back=False), outside, picture) == ""
