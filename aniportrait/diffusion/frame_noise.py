"""The noise that a video's frames begin as, drawn frame by frame, so that its length changes nothing in it."""

from collections.abc import Mapping, Sequence

import torch
from torch import Generator, Tensor


class FrameNoise:
    """Standard normal noise of any frame, of which all frames have a part in common; see `initial_noise`.

    The same seed gives a frame the same noise whatever the length of the video: what a beginning looks like can be
    tried. Drawn in order; a frame's is given away once.

    Args:
        shape: (c, h, w) of a frame.
        shared: part of the variance that is common to all frames, 0 to 1.
        generators: one for each item of the batch, on the device of the noise.
        state: of another FrameNoise, to go on from it.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        shared: float,
        generators: Sequence[Generator],
        state: Mapping[str, Tensor] | None = None,
    ):
        if not 0 <= shared <= 1:
            raise ValueError(f"shared_noise ({shared}) must be from 0 to 1")
        self._shape, self._shared, self._generators = shape, shared, generators
        self._drawn: dict[int, Tensor] = {}
        self._next = 0
        if state:
            self._restore(state)
        else:
            self._common = self._draw() if shared else None

    def __call__(self, frame: int) -> Tensor:
        """(b, c, h, w) float32."""
        while self._next <= frame:
            self._drawn[self._next] = self._mixed()
            self._next += 1
        return self._drawn.pop(frame)

    def _mixed(self) -> Tensor:
        if self._common is None:
            return self._draw()
        if self._shared == 1:
            return self._common
        return (1 - self._shared) ** 0.5 * self._draw() + self._shared**0.5 * self._common

    def _draw(self) -> Tensor:
        return torch.stack(
            [
                torch.randn(self._shape, generator=generator, device=generator.device)
                for generator in self._generators
            ]
        )

    def state(self) -> dict[str, Tensor]:
        """What another FrameNoise of the same settings needs to go on."""
        state = {f"generator.{i}": each.get_state() for i, each in enumerate(self._generators)}
        state |= {f"drawn.{frame}": noise for frame, noise in self._drawn.items()}
        if self._common is not None:
            state["common"] = self._common
        return state | {"next": torch.tensor(self._next)}

    def _restore(self, state: Mapping[str, Tensor]) -> None:
        for i, generator in enumerate(self._generators):
            generator.set_state(state[f"generator.{i}"].cpu())
        self._drawn = {
            int(name.removeprefix("drawn.")): noise
            for name, noise in state.items()
            if name.startswith("drawn.")
        }
        self._common = state.get("common")
        self._next = int(state["next"])
