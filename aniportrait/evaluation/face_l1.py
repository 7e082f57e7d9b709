"""How far generated pixels are off where it matters: in the face."""

import torch
from torch import Tensor

from aniportrait.evaluation.per_clip import PerClipMetric, mean_over_frames


class FaceRegionL1(PerClipMetric):
    """Mean absolute difference inside the landmarks' bounding box, in [0, 1] RGB, one value per clip.

    Frames come as everywhere in [-1, 1]; a difference there is twice the difference in [0, 1].
    """

    higher_is_better = False

    def update(self, prediction: Tensor, target: Tensor, face_box: Tensor) -> None:
        """Takes the scores of some clips.

        Args: prediction, target (b, f, 3, h, w) in [-1, 1]; face_box (b, f, 4) x0, y0, x1, y1 in [0, 1].
        """
        super().update(prediction, target, inside(face_box, *target.shape[-2:]))

    def _scores(self, prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        difference = (prediction.clamp(-1, 1) - target.clamp(-1, 1)).abs().mean(dim=2) / 2
        pixels = valid.sum(dim=(-2, -1))
        return mean_over_frames((difference * valid).sum(dim=(-2, -1)) / pixels, pixels > 0)


def inside(box: Tensor, height: int, width: int) -> Tensor:
    """(..., 4) x0, y0, x1, y1 in [0, 1] -> (..., h, w) bool: the pixels whose centres lie in the box."""
    x0, y0, x1, y1 = box[..., None].unbind(dim=-2)
    y = (torch.arange(height, device=box.device) + 0.5) / height
    x = (torch.arange(width, device=box.device) + 0.5) / width
    rows, columns = (y0 <= y) & (y <= y1), (x0 <= x) & (x <= x1)
    return rows[..., :, None] & columns[..., None, :]
