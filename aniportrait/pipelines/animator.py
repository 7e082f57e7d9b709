"""The door for Python: networks loaded once, then animations of any portraits.

from aniportrait.pipelines.animator import Animator, Request
animation = Animator("outputs/demo/weights").animate(Request("face.png", audio="voice.wav"))
animation.save("speaking.mp4")  # or: for frame in animation: ...
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aniportrait.checkpoints.store import open_weights
from aniportrait.data.face_search import shrunk
from aniportrait.face.canonical import load_canonical_face
from aniportrait.face.landmarks import FaceLandmarker
from aniportrait.face.task_file import find_task_file
from aniportrait.models.inference import PRECISIONS, check_precision, for_inference
from aniportrait.models.processor import warn_of_emulation
from aniportrait.pipelines.animation import Animation
from aniportrait.pipelines.label import labelled
from aniportrait.pipelines.pasted_back import PastedBack
from aniportrait.pipelines.performer import Performer, Progress
from aniportrait.pipelines.picture import Picture, prepare_picture
from aniportrait.pipelines.picture_file import read_image
from aniportrait.pipelines.portrait import PortraitPipeline
from aniportrait.pipelines.request import Request
from aniportrait.pipelines.saved_choices import PRETRAINED
from aniportrait.pipelines.saved_networks import own_sampling, portrait_pipeline, pretrained_of
from aniportrait.pipelines.speed import speed_of

__all__ = ["Animator", "Request"]

LARGEST_FILM = 2160
"""Longer side of films of whole pictures, pixels: players take no larger ones."""


class Animator:
    """The networks of a weights folder, ready to animate.

    Args:
        weights: a weights folder, a run, or a checkpoint.
        pretrained: where autoencoder and encoders lie that the folder does not bring.
        face_landmarker: MediaPipe's model file; None: where it can be found.
        device: cpu, cuda or cuda:N.
        precision: of the frames' networks: fp32, bf16 or fp16; None: what a request's speed states.
        compile: a backend of torch.compile; None: not compiled.
        context: windows of long videos, open or closed_loop (AniPortrait's); None: those of the weights.
        image_size: side of the sampled square, pixels; None: that of the training.
    """

    def __init__(
        self,
        weights: str | Path,
        *,
        pretrained: str | Path = PRETRAINED,
        face_landmarker: str | None = None,
        device: str = "cpu",
        precision: str | None = None,
        compile: str | None = None,
        context: str | None = "open",
        image_size: int | None = None,
    ):
        if precision is not None:
            check_precision(precision)
        if compile is not None and compile not in torch._dynamo.list_backends(None):
            raise ValueError(f"compile={compile} is no backend of torch.compile; inductor is the usual one")
        _check_device(device)
        if precision == "bf16":
            warn_of_emulation("precision=bf16", device)
        self._weights, self._pretrained = open_weights(weights), Path(pretrained)
        self._task_file = find_task_file(face_landmarker)
        self._device, self._precision, self._compile = device, precision, compile
        self._context, self._image_size = context, image_size
        self._pipelines: dict[str, PortraitPipeline] = {}

    def _pipeline(self, precision: str) -> PortraitPipeline:
        """The frame sampler, loaded when it is first wanted."""
        if precision not in self._pipelines:
            pipeline = portrait_pipeline(
                self._weights,
                self._pretrained,
                self._device,
                context=self._context,
                image_size=self._image_size,
            )
            for_inference(pipeline.networks, PRECISIONS[precision], self._compile)
            self._pipelines[precision] = pipeline
        return self._pipelines[precision]

    def animate(self, request: Request, progress: Progress | None = None) -> Animation:
        """Everything up to the sampling, which is done as the animation is iterated over or saved."""
        speed = speed_of(request.speed)
        precision = self._precision or speed.precision_on(self._device)
        pipeline = self._pipeline(precision)
        asked = (
            "steps",
            "solver",
            "guidance_scale",
            "guidance_rescale",
            "guidance_interval",
            "shared_noise",
            "seed",
        )
        settings = speed.settings(
            own_sampling(self._weights), {name: getattr(request, name) for name in asked}
        )
        with FaceLandmarker(self._task_file) as landmarker:
            image, what = request.portrait, "the portrait"
            if not isinstance(image, np.ndarray):
                image, what = read_image(image), f"portrait {image}"
            if request.paste_back:
                image = shrunk(image, LARGEST_FILM)
            picture = prepare_picture(image, landmarker, what, request.face)
            performance = self._performer.performance(request, picture, landmarker, progress)
        return Animation(
            pipeline,
            picture,
            performance,
            settings,
            speed.stride,
            _finishing(request, image, picture),
            repr((*self._origin(precision), request.label, pasting(request, image, picture))),
        )

    def _origin(self, precision: str) -> tuple[Any, ...]:
        """What decides, besides a request, how frames come out."""
        brought = [
            _files_of(self._weights.source),
            *map(_files_of, pretrained_of(self._weights, self._pretrained)),
        ]
        versions = [version(name) for name in ("torch", "diffusers", "av")]
        return brought, versions, torch.device(self._device).type, precision, self._compile

    @cached_property
    def _performer(self) -> Performer:
        face = load_canonical_face(self._task_file)
        return Performer(self._weights, self._pretrained, self._device, face)


def _finishing(
    request: Request, image: np.ndarray, picture: Picture
) -> Callable[[Iterable[np.ndarray]], Iterator[np.ndarray]]:
    """What is done to sampled squares: pasted back into the picture, labelled, or nothing."""
    pasted = PastedBack(image, picture.crop) if request.paste_back else iter
    if not request.label:
        return pasted
    return lambda frames: map(labelled, pasted(frames))


def pasting(request: Request, image: np.ndarray, picture: Picture) -> str:
    """Differs where frames would be pasted into something else, or elsewhere."""
    if not request.paste_back:
        return ""
    return f"{picture.crop} {image.shape} {hashlib.sha256(np.ascontiguousarray(image).data).hexdigest()}"


def _check_device(device: str) -> None:
    try:
        kind, index = torch.device(device).type, torch.device(device).index
    except RuntimeError:
        kind, index = "", None
    if kind not in ("cpu", "cuda"):
        raise ValueError(f"device={device} must be cpu, cuda or cuda:N")
    if kind == "cuda" and (index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device={device} is not there: torch sees {torch.cuda.device_count()} GPUs")


def _files_of(path: Path) -> list[tuple[Any, ...]]:
    """Name, size and time of a folder's files, or of a checkpoint."""
    files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    return [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
