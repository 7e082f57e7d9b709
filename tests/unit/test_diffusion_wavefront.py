"""A wavefront gives the frames that all at once gives, sooner and in bounded memory, and goes on where it was left."""

import copy
from itertools import islice, pairwise

import pytest
import torch

from aniportrait.diffusion.context import ClosedLoopWindows, OpenWindows
from aniportrait.diffusion.frame_noise import FrameNoise
from aniportrait.diffusion.noise_schedule import build_scheduler
from aniportrait.diffusion.sampler import timed
from aniportrait.diffusion.solvers import SOLVERS, solver_of
from aniportrait.diffusion.wavefront import Wavefront

SCHEDULE = build_scheduler()
SHAPE = (2, 4, 4)


def mixing(latents, timestep, frames):
    """A denoiser whose answer for a frame depends on all frames of the window, and on the time."""
    return torch.sin(latents.cumsum(dim=1) + latents.flip(1) * timestep / 700)


def noise(seed=0, shared=0.0, state=None):
    return FrameNoise(SHAPE, shared, [torch.Generator().manual_seed(seed)], state)


def wavefront(frames, windows, solver="ddim", steps=5, state=None, predict=mixing, **kwargs):
    own = {} if state is None else {k[6:]: v for k, v in state.items() if k.startswith("noise.")}
    return Wavefront(
        predict,
        timed(solver_of(solver, SCHEDULE), steps),
        windows(frames),
        noise(state=own),
        state=state,
        **kwargs,
    )


def all_at_once(frames, windows, solver="ddim", steps=5):
    """Every window at a step before any at the next; the whole video steps with one solver."""
    scheduler = timed(solver_of(solver, SCHEDULE), steps)
    draw = noise()
    latents = torch.stack([draw(frame) for frame in range(frames)], dim=1)
    for timestep in scheduler.timesteps:
        summed, weight = torch.zeros_like(latents), torch.zeros(frames)
        for indices, weights in windows(frames):
            prediction = mixing(latents[:, indices], int(timestep), indices)
            summed[:, indices] += prediction * weights[:, None, None, None]
            weight[indices] += weights
        average = summed / weight[:, None, None, None]
        latents = scheduler.step(average, int(timestep), latents, return_dict=False)[0]
    return latents


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("frames", [1, 16, 17, 100])
@pytest.mark.parametrize(
    "windows", [OpenWindows(), OpenWindows(8, 6), OpenWindows(7, 0), ClosedLoopWindows()]
)
def test_frames_are_those_of_all_at_once_to_the_bit(windows, frames, solver):
    blocks = list(wavefront(frames, windows, solver))
    assert torch.equal(torch.cat(blocks, dim=1), all_at_once(frames, windows, solver))


def test_the_first_frames_are_there_before_the_last_have_begun():
    seen = []

    def predict(latents, timestep, frames):
        seen.append(int(frames.max()))
        return mixing(latents, timestep, frames)

    next(iter(wavefront(200, OpenWindows(), predict=predict)))
    assert max(seen) < 16 + 5 * 12


def test_memory_does_not_grow_with_the_length():
    held = [
        max(len(front.state()) for _ in front) for front in (wavefront(n, OpenWindows()) for n in (120, 480))
    ]
    assert held[1] < 1.05 * held[0] < 2 * 120


def test_a_beginning_has_the_noise_of_the_whole():
    short, long = noise(shared=0.4), noise(shared=0.4)
    kept = [long(frame) for frame in range(50)]
    assert all(torch.equal(short(frame), kept[frame]) for frame in range(10))
    assert not torch.equal(kept[0], kept[1])


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("windows", [OpenWindows(8, 3), ClosedLoopWindows(8, 3)])
def test_stopped_after_any_block_it_goes_on_to_the_same_frames(windows, solver):
    whole = list(wavefront(60, windows, solver))
    for stop in range(1, len(whole)):
        front = wavefront(60, windows, solver)
        before = list(islice(front, stop))
        state = copy.deepcopy(front.state())
        after = list(wavefront(60, windows, solver, state=state))
        assert torch.equal(torch.cat(before + after, dim=1), torch.cat(whole, dim=1))


def test_progress_counts_every_window_of_every_step_and_goes_on_counting():
    heard = []
    front = wavefront(40, OpenWindows(), progress=lambda done, total: heard.append((done, total)))
    next(iter(front))
    resumed = wavefront(
        40, OpenWindows(), state=front.state(), progress=lambda done, total: heard.append((done, total))
    )
    list(resumed)
    assert [done for done, _ in heard] == list(range(1, 16))
    assert {total for _, total in heard} == {15}


def test_nothing_jumps_where_windows_meet():
    """A denoiser that shifts each window by a constant of its own: what differs fades over the overlap."""
    shifts = {}

    def shifting(latents, timestep, frames):
        return torch.full_like(latents, float(shifts.setdefault(int(frames[0]), len(shifts) % 2)))

    still = FrameNoise(SHAPE, 1.0, [torch.Generator().manual_seed(0)])
    front = Wavefront(shifting, timed(SCHEDULE, 1), OpenWindows(16, 7)(100), still)
    latents = torch.cat(list(front), dim=1)[0, :, 0, 0, 0]
    jumps = [abs(float(b - a)) for a, b in pairwise(latents)]
    assert max(jumps) < 0.3 * float(latents.max() - latents.min())


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_arrives_where_a_denoiser_that_knows_the_answer_points(solver):
    answer = torch.randn(1, 30, *SHAPE, generator=torch.Generator().manual_seed(1))

    def oracle(latents, timestep, frames):
        alpha = SCHEDULE.alphas_cumprod[timestep].clamp_min(2**-24)
        return (alpha.sqrt() * latents - answer[:, frames]) / (1 - alpha).sqrt()

    latents = torch.cat(list(wavefront(30, OpenWindows(), solver, steps=8, predict=oracle)), dim=1)
    assert torch.allclose(latents, answer, atol=5e-3)
