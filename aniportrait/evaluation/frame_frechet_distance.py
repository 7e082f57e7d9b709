"""Frechet distance of what an image network sees in single frames."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from aniportrait.evaluation.frechet_distance import VideoFrechetDistance
from aniportrait.evaluation.video_pair import ScoredVideo

CHUNK = 16
"""Frames that go through the network at once."""


class FrameFrechetDistance(VideoFrechetDistance):
    """Every frame of every clip is a sample; the order of frames says nothing.

    Args:
        network: images -> (b, width), with its weights.
    """

    def __init__(self, network: nn.Module, **kwargs):
        super().__init__(**kwargs)
        # A quarter faster on CPUs.
        self.network = network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    @abstractmethod
    def images(self, frames: Tensor) -> Tensor:
        """What the network takes, of (b, 3, h, w) float32 RGB in [0, 255]."""

    def features(self, video: ScoredVideo) -> Tensor:
        """(f, width) float32."""
        if video.frames.dtype != torch.uint8:
            raise ValueError(f"frames are {video.frames.dtype} and must be uint8")
        self.network.eval()  # whoever trains something around this metric must not train its batch norms
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            chunks = [chunk.to(self.device).float() for chunk in video.frames.split(CHUNK)]
            return torch.cat([self.network(self.images(chunk)).cpu() for chunk in chunks])
