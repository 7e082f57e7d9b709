"""The door for Python: networks loaded once, then animations of any portraits.

from aniportrait.pipelines.animator import Animator, Request
animation = Animator("outputs/demo/weights").animate(Request("face.png", audio="voice.wav"))
animation.save("speaking.mp4")  # or: for frame in animation: ...
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from aniportrait.checkpoints.store import Weights, WeightsError, open_weights
from aniportrait.data.media import probe
from aniportrait.data.schema import SAMPLE_RATE
from aniportrait.data.sound import NoAudioError, read_audio
from aniportrait.data.soundtrack import SoundFile
from aniportrait.face.canonical import load_canonical_face
from aniportrait.face.landmarks import FaceLandmarker
from aniportrait.face.task_file import find_task_file
from aniportrait.pipelines.animation import Animation, Performance
from aniportrait.pipelines.request import Request

__all__ = ["Animator", "Request"]
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


class Animator:
    """The networks of a weights folder, ready to animate.

    Args:
        weights: a weights folder, a run, or a checkpoint.
        pretrained: where autoencoder and encoders lie that the folder does not bring.
        face_landmarker: MediaPipe's model file; None: where it can be found.
        device: cpu, cuda or cuda:N.
        precision: fp32, bf16 or fp16.
        compile: a backend of torch.compile; None: not compiled.
        context: windows of long videos, open or closed_loop (AniPortrait's); None: those of the weights.
        image_size: side of the sampled square, pixels; None: that of the training.
    """

    def __init__(
        self,
        weights: str | Path,
        *,
        pretrained: str | Path = "pretrained_model",
        face_landmarker: str | None = None,
        device: str = "cpu",
        precision: str = "fp32",
        compile: str | None = None,
        context: str | None = "open",
        image_size: int | None = None,
    ):
        self._weights = open_weights(weights)
        self._pretrained, self._device = Path(pretrained), device
        self._task_file = find_task_file(face_landmarker)
        self._portrait = portrait_pipeline(self._weights, self._pretrained, device, context)
        self._card = portrait_card(self._weights)

    def animate(self, request: Request, progress: Progress | None = None) -> Animation:
        """Everything up to the sampling, which is done as the animation is iterated over or saved."""
        with FaceLandmarker(self._task_file) as landmarker:
            picture = self._picture(request, landmarker)
            performance = self._performance(request, picture, landmarker, progress)
        speed = SPEEDS[request.speed]
        return Animation(
            self._portrait,
            picture,
            performance,
            self._settings(request),
            speed.stride,
            self._finish(request, picture),
            repr((self._weights.source, request.paste_back, request.label)),
        )
