"""Identity as ArcFace sees it."""

from typing import Literal

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from aniportrait.evaluation.backend_files import given_file
from aniportrait.evaluation.identity import FaceIdentity
from aniportrait.evaluation.onnx_network import OnnxNetwork
from aniportrait.face.align import arcface_crop
from aniportrait.face.task_file import sha256_of

SOURCE = (
    "w600k_r50.onnx, which is in insightface's buffalo_l.zip (research only, "
    "https://github.com/deepinsight/insightface/releases/download/v0.7/buffalo_l.zip)"
)


class ArcFaceIdentity(FaceIdentity):
    """Cosine of ArcFace embeddings (Deng et al. 2019, arXiv 1801.07698), which papers call CSIM or ID similarity.

    Faces are cut out and fed as insightface does it, at eyes, nose and mouth of MediaPipe's landmarks in place of its
    own detector's.

    Args:
        weights: buffalo_l's w600k_r50.onnx.
        against: "reference" or "real", as in FaceIdentity.

    Raises:
        MissingBackendError: the file or onnxruntime is not there.
    """

    higher_is_better = True

    def __init__(
        self, weights: str | None = None, against: Literal["reference", "real"] = "reference", **kwargs
    ):
        super().__init__(against, **kwargs)
        file = given_file(weights, "metrics.identity_arcface.weights", SOURCE)
        self.network = OnnxNetwork(file)
        self.backend = (
            f"ArcFace ({file.name}, sha256 {sha256_of(file)[:12]}), "
            f"generated frame against the {against} one, MediaPipe's landmarks"
        )

    def embeddings(self, pictures: list[np.ndarray], landmarks: np.ndarray) -> Tensor:
        """(n, 512), not of unit length."""
        faces = np.stack([arcface_crop(*pair) for pair in zip(pictures, landmarks, strict=True)])
        scaled = rearrange((faces.astype(np.float32) - 127.5) / 127.5, "n h w c -> n c h w")
        return torch.from_numpy(self.network(np.ascontiguousarray(scaled)))

    def compare(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """(n,) 1 for the same picture."""
        return torch.cosine_similarity(ours, theirs, dim=-1)
