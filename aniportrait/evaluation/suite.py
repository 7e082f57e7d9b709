"""The scores of generated frames, together."""

import torch
from einops import rearrange
from torch import Tensor
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure

from aniportrait.evaluation.face_l1 import FaceRegionL1


class PortraitSuite:
    """Scores generated frames against the true ones.

    PSNR (dB) and SSIM are torchmetrics' own, per frame on [0, 1] RGB, averaged over a clip's frames.
    """

    def __init__(self):
        self.face_l1 = FaceRegionL1()
        self.psnr = PeakSignalNoiseRatio(data_range=1.0, dim=(1, 2, 3), reduction="none")
        self.ssim = StructuralSimilarityIndexMeasure(data_range=1.0, reduction="none")
        self._frames_per_clip: list[int] = []

    def update(self, prediction: Tensor, target: Tensor, face_box: Tensor) -> None:
        """Takes the scores of some clips.

        Args: prediction, target (b, f, 3, h, w) in [-1, 1]; face_box (b, f, 4) x0, y0, x1, y1 in [0, 1].
        """
        prediction, target = prediction.cpu().float(), target.cpu().float()
        self.face_l1.update(prediction, target, face_box.cpu())
        pictures = [
            rearrange(video.clamp(-1, 1) / 2 + 0.5, "b f c h w -> (b f) c h w")
            for video in (prediction, target)
        ]
        self.psnr.update(*pictures)
        self.ssim.update(*pictures)
        self._frames_per_clip += [target.shape[1]] * len(target)

    def per_clip(self) -> dict[str, Tensor]:
        """face_l1, psnr, ssim -> (n,) one value per clip, in the order of the updates."""
        return {
            "face_l1": self.face_l1.per_clip,
            "psnr": self._clip_means(torch.as_tensor(self.psnr.compute())),
            "ssim": self._clip_means(torch.as_tensor(self.ssim.compute())),
        }

    def _clip_means(self, per_frame: Tensor) -> Tensor:
        return torch.stack([clip.mean() for clip in per_frame.reshape(-1).split(self._frames_per_clip)])
