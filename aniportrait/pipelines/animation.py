"""A video on its way: its frames one by one, or a file that a killed process goes on with."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from aniportrait.data.film_parts import FilmParts
from aniportrait.data.soundtrack import SoundFile
from aniportrait.pipelines.interpolation import interpolated, keyframe_indices
from aniportrait.pipelines.label import TAGS
from aniportrait.pipelines.picture import Picture
from aniportrait.pipelines.portrait import PortraitPipeline
from aniportrait.pipelines.sampling_settings import SamplingSettings

LAST_KEYFRAME = "keyframe"
"""In a part's state: the sampled frame that it ends with."""


@dataclass(frozen=True)
class Performance:
    """What is to be seen and heard.

    Args:
        points: (f, 468, 2) float32 landmarks in [0, 1] of the portrait's square.
        fps: frames per second.
        sound: beside the picture, if there is any.
    """

    points: np.ndarray
    fps: float
    sound: SoundFile | None


class Animation:
    """The frames of a portrait that performs, sampled while they are iterated over, or saved.

    Args:
        pipeline: the frame sampler.
        picture: the portrait.
        performance: what it does.
        settings: of the sampling.
        stride: every how manieth frame is sampled; those between are made from their neighbours.
        finish: what is done to frames (h, w, 3) at the end: pasted back, labelled.
        origin: of the weights and of `finish`, for telling whether a file left unfinished is of this animation.
    """

    def __init__(
        self,
        pipeline: PortraitPipeline,
        picture: Picture,
        performance: Performance,
        settings: SamplingSettings,
        stride: int = 1,
        finish: Callable[[Iterable[np.ndarray]], Iterator[np.ndarray]] = iter,
        origin: str = "",
    ):
        self.performance, self.fps = performance, performance.fps
        self._pipeline, self._picture, self._settings = pipeline, picture, settings
        self._finish, self._origin = finish, origin
        self._keyframes = keyframe_indices(len(performance.points), stride)
        self._stride = stride

    def __len__(self) -> int:
        """Frames."""
        return len(self.performance.points)

    def __iter__(self) -> Iterator[np.ndarray]:
        """(h, w, 3) uint8 RGB frames, each as soon as it is finished."""
        for frames, _ in self._blocks({}, None):
            yield from frames

    def save(
        self,
        out: str | Path,
        progress: Callable[[str, int, int], None] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Path:
        """Write an mp4 with its sound; whole or not at all. What a killed process has finished of it is gone on with.

        Args:
            progress: called with ("sampling", steps done, steps in all).
            metadata: tags of the file, besides those that say that it is synthetic.
        """
        report = None if progress is None else partial(progress, "sampling")
        with FilmParts(Path(out), self.fps, self._identity()) as parts:
            for frames, state in self._blocks(parts.state, report):
                parts.add(frames, state())
            parts.finish(self.performance.sound, TAGS | dict(metadata or {}))
        return Path(out)

    def _blocks(
        self, state: Mapping[str, Tensor], progress: Callable[[int, int], None] | None
    ) -> Iterator[tuple[Iterator[np.ndarray], Callable[[], dict[str, Tensor]]]]:
        """Finished frames, and what it takes to go on after them, once they were taken."""
        points, picture = self.performance.points, self._picture
        sampled = {name: value for name, value in state.items() if name != LAST_KEYFRAME}
        last = state[LAST_KEYFRAME].numpy() if LAST_KEYFRAME in state else None
        stream = self._pipeline.stream(
            picture.image,
            picture.track.landmarks[0],
            points[self._keyframes],
            self._settings,
            progress,
            sampled,
        )
        for keyframes in stream:
            first = stream.finished - len(keyframes)
            frames = self._between(last, keyframes, first)
            last = keyframes[-1]
            kept = {LAST_KEYFRAME: torch.from_numpy(last.copy())} if self._stride > 1 else {}
            yield self._finish(frames), lambda kept=kept: stream.state() | kept

    def _between(self, last: np.ndarray | None, keyframes: np.ndarray, first: int) -> Iterator[np.ndarray]:
        """The frames after the keyframe `last` up to the last of `keyframes`, whose first is the `first`-th sampled."""
        if self._stride == 1:
            return iter(keyframes)
        end = self._keyframes[first + len(keyframes) - 1] + 1
        if last is None:
            return interpolated(keyframes, self.performance.points[:end], self._stride)
        begin = self._keyframes[first - 1]
        frames = interpolated([last, *keyframes], self.performance.points[begin:end], self._stride)
        next(frames)
        return frames

    def _identity(self) -> str:
        """Differs where any frame would."""
        told = (
            self._settings,
            self.fps,
            self._stride,
            self._origin,
            self._pipeline.windows,
            self._pipeline.image_size,
        )
        digest = hashlib.sha256(repr(told).encode())
        for values in (self._picture.image, self._picture.track.landmarks, self.performance.points):
            digest.update(np.ascontiguousarray(values).data)
        return digest.hexdigest()
