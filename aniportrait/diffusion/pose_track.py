"""Pose features of a whole video, a window at a time."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class PoseTrack:
    """What a PoseGuider says of any frames of a video: computed when first asked for, then kept.

    Each frame is computed once, however many windows and steps ask for it. A guider whose features of a frame depend
    on the frames that come with it (`together`) is asked window by window instead, as AniPortrait does.

    What is kept lies on the guider's GPU, up to `kept_there`, then in main memory, up to `kept_bytes`, beyond which
    features are computed again whenever they are asked for. One frame of Stable Diffusion's sizes at 512x512 is
    7 MB, half of it in half precision; while a long video is sampled, frames of about a window for each step are kept.

    Args:
        guider: a PoseGuider.
        pose_image: (b, f, 3, h, w) in [-1, 1], in main memory whatever the device; or what draws that of frames (n,).
        reference_pose_image: (b, 3, h, w) in [-1, 1].
        kept_bytes: most main memory for what is kept.
        kept_there: most memory of a GPU, whose windows then need not wait for main memory at every step.
    """

    def __init__(
        self,
        guider: Any,
        pose_image: Tensor | Callable[[Tensor], Tensor],
        reference_pose_image: Tensor,
        kept_bytes: int = 8 * 2**30,
        kept_there: int = 2 * 2**30,
    ):
        self.guider = guider
        self.pose_image = pose_image
        self.weight = next(guider.parameters())
        self.reference_pose_image = reference_pose_image.to(self.weight)
        self._free_bytes = {self.weight.device: kept_there, torch.device("cpu"): kept_bytes}
        self._kept: dict[tuple[int, ...], tuple[Tensor, ...]] = {}

    def __call__(self, frames: Tensor) -> tuple[Tensor, ...]:
        """Indices (n,) -> levels + 1 of (b, n, c, h, w), on the guider's device."""
        indices = [int(index) for index in frames]
        units = [tuple(indices)] if self.guider.together else [(index,) for index in indices]
        fresh = self._computed([unit for unit in units if unit not in self._kept])
        self._keep(fresh)
        parts = [fresh[unit] if unit in fresh else self._kept[unit] for unit in units]
        return tuple(
            torch.cat([part.to(self.weight.device) for part in level], dim=1)
            for level in zip(*parts, strict=True)
        )

    def forget(self, before: int) -> None:
        """Free what is kept of frames below `before` alone: nobody will ask for it again."""
        for unit in [unit for unit in self._kept if max(unit) < before]:
            for feature in self._kept.pop(unit):
                self._free_bytes[feature.device] += feature.nbytes

    def _computed(self, units: list[tuple[int, ...]]) -> dict[tuple[int, ...], tuple[Tensor, ...]]:
        if not units:
            return {}
        indices = torch.tensor([index for unit in units for index in unit])
        drawn = (
            self.pose_image[:, indices] if isinstance(self.pose_image, Tensor) else self.pose_image(indices)
        )
        features = self.guider(drawn.to(self.weight), self.reference_pose_image)
        split = [feature.split([len(unit) for unit in units], dim=1) for feature in features]
        return dict(zip(units, zip(*split, strict=True), strict=True))

    def _keep(self, fresh: dict[tuple[int, ...], tuple[Tensor, ...]]) -> None:
        for unit, features in fresh.items():
            size = sum(feature.nbytes for feature in features)
            place = next((place for place, free in self._free_bytes.items() if size <= free), None)
            if place is not None:
                self._free_bytes[place] -= size
                # copied: a view would keep its whole window alive
                self._kept[unit] = tuple(feature.to(place, copy=True) for feature in features)
