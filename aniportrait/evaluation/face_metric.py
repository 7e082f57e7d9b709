"""A figure from detected faces, and how many frames had none."""

from collections.abc import Mapping

import torch
from torch import Tensor

from aniportrait.evaluation.video_metric import ClipMeanMetric, NotScoredError, real_video
from aniportrait.evaluation.video_pair import VideoPair


class FaceMetric(ClipMeanMetric):
    """The mean over clips of a figure of the frames that show a face, in the real video too where one is needed.

    Other frames are left out and counted: `frames` () int64 were given, `left_out` () int64 are in no figure.
    """

    topic = "face"
    frames: Tensor
    left_out: Tensor

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        for count in ("frames", "left_out"):
            self.add_state(count, default=torch.tensor(0), dist_reduce_fx="sum")

    @property
    def note(self) -> str:
        left_out, frames = int(self.left_out), int(self.frames)
        return f"{left_out} of {frames} frames show no face and are left out" if left_out else ""

    def valid(self, pair: VideoPair) -> Tensor:
        """(f,) bool: where a face was found in every video that this metric looks at."""
        valid = torch.from_numpy(pair.generated.track.valid)
        return valid & torch.from_numpy(real_video(pair).track.valid) if "real" in self.needs else valid

    def measure(self, pair: VideoPair) -> dict[str, Tensor]:
        valid = self.valid(pair)
        if not valid.any():
            raise NotScoredError(f"none of its {len(valid)} frames shows a face")
        return super().measure(pair) | {
            "frames": torch.tensor(len(valid)),
            "left_out": (~valid).sum(),
        }

    def update(self, measured: Mapping[str, Tensor]) -> None:
        super().update(measured)
        self.frames += measured["frames"]
        self.left_out += measured["left_out"]
