"""SyncNet on a video: how far lips and sound are apart, for every shift of one against the other."""

import weakref
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from aniportrait.data.mfcc import int16_scale, mfcc
from aniportrait.data.schema import SAMPLE_RATE
from aniportrait.evaluation.backend_files import given_file
from aniportrait.evaluation.frozen_weights import frozen
from aniportrait.evaluation.syncnet_views import Shown, View
from aniportrait.evaluation.video_metric import NotScoredError
from aniportrait.evaluation.video_pair import ScoredVideo
from aniportrait.face.task_file import sha256_of
from aniportrait.models.syncnet import LIP_FRAMES, MFCC_STEPS, SyncNet

WEIGHTS_URL = "http://www.robots.ox.ac.uk/~vgg/software/lipsync/data/syncnet_v2.model"
FPS = 25.0
LONGEST_SHIFT = 15
"""Frames to either side."""

_SAMPLES_PER_FRAME = round(SAMPLE_RATE / FPS)
_STEPS_PER_FRAME = 4
_WINDOWS = 16  # held at once


class SyncNetReader(nn.Module):
    """SyncNet with what it is shown. Three figures of a video are taken from one reading: the last is remembered.

    Args:
        network: SyncNet with its weights.
        view: what of a video is shown.
        sha256: of the weights' file.
    """

    def __init__(self, network: SyncNet, view: View, sha256: str = ""):
        super().__init__()
        self.sha256 = sha256
        self.network = network.eval().requires_grad_(False)
        self.view = view
        self._last: tuple[weakref.ref[ScoredVideo], Tensor] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_last": None}  # weak references are not to be sent to another process

    def train(self, mode: bool = True) -> "SyncNetReader":
        return super().train(False)  # a metric within a module that trains stays what it is

    def forward(self, video: ScoredVideo) -> Tensor:
        """Mean distance of lips and sound for every shift: (31,) float32, see `distances_by_shift`.

        Raises:
            NotScoredError: the video is silent, too short, not of 25 fps, or shows no face.
        """
        if self._last is not None and self._last[0]() is video:
            return self._last[1]
        if video.audio is None:
            raise NotScoredError("it has no sound")
        if abs(video.fps - FPS) > 1e-3:
            raise NotScoredError(f"{video.fps:g} fps, SyncNet knows {FPS:g} fps alone")
        distances = distances_by_shift(*self.features(self.view.show(video, video.audio)))
        self._last = weakref.ref(video), distances
        return distances

    @torch.no_grad()
    def features(self, shown: Shown) -> tuple[Tensor, Tensor]:
        """Features of lips and sound, (w, 1024) each on the CPU, where window k begins at frame k.

        There are 5 windows less than frames, one less than there could be, as published.
        """
        frames = min(shown.frames, len(shown.audio) // _SAMPLES_PER_FRAME)
        windows = frames - LIP_FRAMES
        if windows < 1:
            raise NotScoredError(f"{frames} frames with sound, {LIP_FRAMES + 1} are the least")
        return self._lips(shown.pictures, windows), self._sounds(shown.audio, windows)

    def _lips(self, pictures: Iterator[np.ndarray], windows: int) -> Tensor:
        device = next(self.network.parameters()).device
        features, held = [], list(islice(pictures, LIP_FRAMES - 1))
        for begin in range(0, windows, _WINDOWS):
            held += islice(pictures, min(_WINDOWS, windows - begin))
            rgb = torch.from_numpy(np.stack(held)).to(device)
            bgr = rearrange(rgb, "f h w c -> 1 f c h w").flip(2).float()
            features.append(self.network.lip_features(bgr)[0].cpu())
            held = held[1 - LIP_FRAMES :]
        return torch.cat(features)

    def _sounds(self, audio: np.ndarray, windows: int) -> Tensor:
        device = next(self.network.parameters()).device
        coefficients = torch.from_numpy(mfcc(int16_scale(audio))).float()
        cut = rearrange(coefficients.unfold(0, MFCC_STEPS, _STEPS_PER_FRAME)[:windows], "w c t -> w t c")
        return torch.cat([self.network.sound_features(part.to(device)).cpu() for part in cut.split(_WINDOWS)])


def distances_by_shift(lips: Tensor, sounds: Tensor, reach: int = LONGEST_SHIFT) -> Tensor:
    """Mean over windows of the L2 distance; beyond the clip's ends the sound's features are zeros, as published.

    Args:
        lips, sounds: (w, 1024).
        reach: frames to either side.
    Returns:
        (2 reach + 1,): place reach + k compares each window of lips with the sound k frames later.
    """
    windows = len(lips)
    padded = F.pad(sounds, (0, 0, reach, reach))
    shifts = range(2 * reach + 1)
    return torch.stack([F.pairwise_distance(lips, padded[k : k + windows]).mean() for k in shifts])


@lru_cache(maxsize=2)
def syncnet_reader(weights: str | None, view: View) -> SyncNetReader:
    """One reader for all metrics with these weights and this view: loaded once, read once a video.

    Args:
        weights: path of `syncnet_v2.model`, or a safetensors file with its keys.

    Raises:
        MissingBackendError: there is no such file.
        WeightsError: it holds another network.
    """
    file = given_file(weights, "syncnet", f"syncnet_v2.model from {WEIGHTS_URL}")
    return SyncNetReader(frozen(SyncNet(), file), view, sha256_of(file))
