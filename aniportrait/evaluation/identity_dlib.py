"""Identity as dlib's face recognition sees it, whose weights a pip package carries."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from aniportrait.evaluation.backend_files import given_file, packaged_file
from aniportrait.evaluation.identity import FaceIdentity
from aniportrait.evaluation.video_metric import MissingBackendError
from aniportrait.face.task_file import sha256_of

PACKAGE = "face_recognition_models"
ADVICE = f"pip install --no-deps {PACKAGE}==0.3.0 dlib-bin==20.0.1.post1"
FILE = "dlib_face_recognition_resnet_model_v1.dat"
SHA256 = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"

FIVE_POINTS = (263, 362, 33, 133, 2)
"""Outer and inner corner of the left eye, then of the right one, the nose's base: what dlib aligns faces by."""


class DlibIdentity(FaceIdentity):
    """Distance of dlib's 128 numbers for a face; dlib's own verdict is "the same person" below 0.6.

    Faces are turned upright and cut out by dlib at MediaPipe's landmarks: on 174 frames of 64 films and photos that
    tells people apart as well as dlib's 5-point predictor does (same person at most 0.49, others 0.69 and more for 95
    of 100 pairs), without one more file.

    Args:
        weights: file to use in place of the one that the package carries.
        against: "reference" or "real", as in FaceIdentity.

    Raises:
        MissingBackendError: dlib, or neither package nor file, is there.
    """

    higher_is_better = False

    def __init__(
        self, weights: str | None = None, against: Literal["reference", "real"] = "reference", **kwargs
    ):
        super().__init__(against, **kwargs)
        if weights is None:
            file = packaged_file(PACKAGE, FILE, SHA256, ADVICE)
        else:
            file = given_file(weights, "metrics.identity_dlib.weights", f"leave it null and {ADVICE}")
        self.network = _DlibFaces(file)
        self.backend = (
            f"dlib ({file.name}, sha256 {sha256_of(file)[:12]}), generated frame against the {against} one, "
            "MediaPipe's landmarks"
        )

    def embeddings(self, pictures: list[np.ndarray], landmarks: np.ndarray) -> Tensor:
        """(n, 128)"""
        return self.network(pictures, landmarks)

    def compare(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """(n,) 0 for the same picture."""
        return (ours - theirs).norm(dim=-1)


class _DlibFaces:
    """dlib's network; a copy opens the file again."""

    def __init__(self, file: Path):
        self.file = file
        self._dlib = _dlib()
        self._network = self._dlib.face_recognition_model_v1(str(file))

    def __call__(self, pictures: list[np.ndarray], landmarks: np.ndarray) -> Tensor:
        faces = [self._chip(*pair) for pair in zip(pictures, landmarks, strict=True)]
        return torch.from_numpy(np.array(self._network.compute_face_descriptor(faces)))

    def _chip(self, picture: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """(150, 150, 3)"""
        height, width = picture.shape[:2]
        points = np.rint(landmarks[list(FIVE_POINTS), :2] * (width, height) - 0.5).astype(int)
        parts = [self._dlib.point(int(x), int(y)) for x, y in points]
        face = self._dlib.full_object_detection(self._dlib.rectangle(), parts)
        return self._dlib.get_face_chip(np.ascontiguousarray(picture), face)

    def __reduce__(self):
        return _DlibFaces, (self.file,)


def _dlib() -> Any:
    try:
        import dlib  # pyright: ignore[reportMissingImports] - optional: only this metric needs it
    except ImportError as error:
        raise MissingBackendError(f"identity_dlib needs dlib: {ADVICE}") from error
    return dlib
