"""What a voice does to the mesh, some frames at a time: meshes of ten minutes would fill a gigabyte."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from aniportrait.models.audio_encoder import sampled
from aniportrait.models.sounding import sounding
from aniportrait.pipelines.head_motion import frame_count


class SpeechOffsets:
    """An audio2mesh's answer to a sound, at any frame rate.

    The network speaks at its own rate, the only one whose movements it knows; other rates are interpolated from it.
    The sound is encoded once; meshes are made when they are asked for, the same in any portions.

    Args:
        audio2mesh: the network, in eval mode.
        mesh_fps: frames per second it was trained at.
        audio: (1, n) at 16 kHz, on the network's device.
        fps: frames per second of what is asked for.
    """

    @torch.inference_mode()
    def __init__(self, audio2mesh: Any, mesh_fps: float, audio: Tensor, fps: float):
        frames = frame_count(audio.shape[-1], mesh_fps)
        self._head, self._step = audio2mesh.head, mesh_fps / fps
        self._features = audio2mesh.encoder(audio, frames)
        self._heard = sounding(audio, frames) if audio2mesh.head.rests_in_silence else None

    @torch.inference_mode()
    def __call__(self, begin: int, end: int) -> np.ndarray:
        """(end - begin, 468, 3) cm from the face at rest, of frames begin to end at `fps`."""
        if self._step == 1:
            return self._meshes(begin, end)[0].cpu().numpy()
        places = torch.arange(begin, end, device=self._features.device) * self._step
        last = self._features.shape[1] - 1
        first = min(int(places[0]), max(0, last - 1))
        meshes = self._meshes(first, min(int(places[-1]) + 1, last) + 1)
        return sampled(meshes.flatten(2), places - first).unflatten(2, meshes.shape[2:])[0].cpu().numpy()

    def _meshes(self, begin: int, end: int) -> Tensor:
        """(1, end - begin, 468, 3) at the network's own rate."""
        first = max(0, begin - self._head.reach)
        offsets = self._head(self._features[:, first : end + self._head.reach])
        offsets = offsets[:, begin - first : end - first]
        return offsets if self._heard is None else offsets * self._heard[:, begin:end, None, None]
