"""The order of a long video's windows and steps: frames are finished from the first on, in memory for a few windows."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from aniportrait.diffusion.context import Window
from aniportrait.diffusion.solver_state import load_solver_state, solver_state

Predict = Callable[[Tensor, int, Tensor], Tensor]
"""(noisy latents (b, n, c, h, w), timestep, frames (n,)) -> float32 prediction of the same shape."""


class Noise(Protocol):
    """(b, c, h, w) of a frame, asked for once, and what is needed to go on drawing."""

    def __call__(self, frame: int) -> Tensor: ...

    def state(self) -> dict[str, Tensor]: ...


class Wavefront:
    """Latents of a video, block by block from the first frame on, each frame by frame what all at once would give.

    A window takes its next step as soon as its frames have taken the one before, and of several that can, the first
    does: window k takes step s when window k + 1 has taken step s - 1. So frames are finished while later ones have
    not begun, and only those between are kept. Windows that close a loop wait for one another at every step.

    Iterate once. Between two blocks, `state` is all it takes to go on from there.

    Args:
        predict: the denoiser, with its conditions.
        scheduler: of diffusers, its timesteps set; each group of frames that steps together gets a copy.
        windows: that cover the frames 0, 1, ...
        noise: what frames begin as.
        progress: called with (windows done, windows in all) after each window of each step.
        state: of another Wavefront of the same video, to go on from it.
    """

    def __init__(
        self,
        predict: Predict,
        scheduler: Any,
        windows: Sequence[Window],
        noise: Noise,
        progress: Callable[[int, int], None] | None = None,
        state: Mapping[str, Tensor] | None = None,
    ):
        self._predict, self._scheduler, self._noise, self._progress = predict, scheduler, noise, progress
        self._timesteps = [int(timestep) for timestep in scheduler.timesteps]
        self._windows = windows
        self._group_of = {int(frame): k for k, window in enumerate(windows) for frame in window.frames}
        self._groups: list[list[int]] = [[] for _ in windows]  # frames that no later window covers
        for frame in sorted(self._group_of):
            self._groups[self._group_of[frame]].append(frame)
        self._seen = [{self._group_of[int(frame)] for frame in window.frames} for window in windows]
        self._seen_by: list[set[int]] = [set() for _ in windows]
        for k, groups in enumerate(self._seen):
            for group in groups:
                self._seen_by[group].add(k)
        self._denoised = [0] * len(windows)  # steps that a window has predicted
        self._stepped = [0] * len(windows)  # steps that a group has taken
        self._latents: dict[int, Tensor] = {}
        self._sums: dict[int, tuple[Tensor, Tensor]] = {}  # of predictions times weights, and of weights
        self._solvers: dict[int, Any] = {}
        self.frames = len(self._group_of)
        self.finished = 0
        if state:
            self._restore(state)

    def __iter__(self) -> Iterator[Tensor]:
        """(b, n, c, h, w) float32 of the next n frames."""
        first, steps = 0, len(self._timesteps)
        while self.finished < self.frames:
            while self._denoised[first] == steps:
                first += 1
            self._denoise(next(k for k in range(first, len(self._windows)) if self._can_go_on(k)))
            if self._progress is not None:
                self._progress(sum(self._denoised), steps * len(self._windows))
            if block := self._block():
                yield torch.stack(block, dim=1)

    def _can_go_on(self, window: int) -> bool:
        done = self._denoised[window]
        return done < len(self._timesteps) and all(
            self._stepped[group] >= done for group in self._seen[window]
        )

    def _denoise(self, k: int) -> None:
        frames, weights = self._windows[k]
        indices = frames.tolist()
        for frame in indices:
            if frame not in self._latents:
                self._latents[frame] = self._noise(frame)
        latents = torch.stack([self._latents[frame] for frame in indices], dim=1)
        weights = weights.to(latents.device)
        prediction = self._predict(latents, self._timesteps[self._denoised[k]], frames)
        weighted = prediction * weights[:, None, None, None]
        for place, frame in enumerate(indices):
            summed, weight = self._sums.get(frame, (0.0, 0.0))
            self._sums[frame] = summed + weighted[:, place], weight + weights[place]
        self._denoised[k] += 1
        for group in sorted(self._seen[k]):
            if all(self._denoised[window] > self._stepped[group] for window in self._seen_by[group]):
                self._step(group)

    def _step(self, group: int) -> None:
        """Frames that all their windows have spoken of take a step together."""
        frames, step = self._groups[group], self._stepped[group]
        if group not in self._solvers:
            self._solvers[group] = copy.deepcopy(self._scheduler)
        sums = [self._sums.pop(frame) for frame in frames]
        average = torch.stack([summed / weight for summed, weight in sums], dim=1)
        latents = torch.stack([self._latents[frame] for frame in frames], dim=1)
        after = self._solvers[group].step(average, self._timesteps[step], latents, return_dict=False)[0]
        self._latents.update(zip(frames, after.unbind(1), strict=True))
        self._stepped[group] += 1
        if self._stepped[group] == len(self._timesteps):
            del self._solvers[group]

    def _block(self) -> list[Tensor]:
        """The frames that are finished and follow the last block."""
        block = []
        while self.finished < self.frames:
            if self._stepped[self._group_of[self.finished]] < len(self._timesteps):
                break
            block.append(self._latents.pop(self.finished))
            self.finished += 1
        return block

    def state(self) -> dict[str, Tensor]:
        """Tensors from which another Wavefront of the same video goes on, to the bit."""
        state = {
            "finished": torch.tensor(self.finished),
            "denoised": torch.tensor(self._denoised),
            "stepped": torch.tensor(self._stepped),
        }
        state |= {f"latents.{frame}": latents for frame, latents in self._latents.items()}
        for frame, (summed, weight) in self._sums.items():
            state |= {f"summed.{frame}": summed, f"weight.{frame}": weight}
        for group, solver in self._solvers.items():
            state |= {f"solver.{group}.{name}": value for name, value in solver_state(solver).items()}
        state |= {f"noise.{name}": value for name, value in self._noise.state().items()}
        return {name: value.clone(memory_format=torch.contiguous_format) for name, value in state.items()}

    def _restore(self, state: Mapping[str, Tensor]) -> None:
        self.finished = int(state["finished"])
        self._denoised, self._stepped = state["denoised"].tolist(), state["stepped"].tolist()
        solvers: dict[int, dict[str, Tensor]] = {}
        for name, value in state.items():
            kind, _, rest = name.partition(".")
            if kind == "latents":
                self._latents[int(rest)] = value
            elif kind == "summed":
                self._sums[int(rest)] = value, state[f"weight.{rest}"]
            elif kind == "solver":
                group, _, attribute = rest.partition(".")
                solvers.setdefault(int(group), {})[attribute] = value
        for group, saved in solvers.items():
            self._solvers[group] = copy.deepcopy(self._scheduler)
            load_solver_state(self._solvers[group], saved)
