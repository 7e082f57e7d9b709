"""SyncNet: two towers that put lips and sound near each other where they belong together."""

from einops import rearrange
from torch import Tensor, nn

LIP_FRAMES = 5
"""Frames of a window, 25 a second."""
MFCC_STEPS = 20
"""Steps of sound of a window, 100 a second."""
WIDTH = 1024


class SyncNet(nn.Module):
    """SyncNet at its published size and under the published names of its weights (`syncnet_v2.model`).

    Chung and Zisserman, "Out of time: automated lip sync in the wild", 2016; https://github.com/joonson/syncnet_python.
    """

    def __init__(self):
        super().__init__()
        # The places in these lists are the names of the weights: pools and rectifiers count.
        self.netcnnaud = nn.Sequential(
            *_seen_flat(1, 64),
            nn.MaxPool2d(1, 1),
            *_seen_flat(64, 192),
            nn.MaxPool2d(3, (1, 2)),
            *_seen_flat(192, 384),
            *_seen_flat(384, 256),
            *_seen_flat(256, 256),
            nn.MaxPool2d(3, 2),
            *_seen_flat(256, 512, (5, 4), padding=0),
        )
        self.netfcaud = _head()
        self.netcnnlip = nn.Sequential(
            *_seen_in_time(3, 96, (LIP_FRAMES, 7, 7), 2, padding=0),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_seen_in_time(96, 256, (1, 5, 5), 2),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
            *_seen_in_time(256, 256, (1, 3, 3)),
            *_seen_in_time(256, 256, (1, 3, 3)),
            *_seen_in_time(256, 256, (1, 3, 3)),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_seen_in_time(256, 512, (1, 6, 6), padding=0),
        )
        self.netfclip = _head()

    def lip_features(self, frames: Tensor) -> Tensor:
        """Every window of a film at once, as only the first layer sees more than one frame.

        Args:
            frames: (b, f, 3, 224, 224) BGR, 0 to 255, f >= 5.
        Returns:
            (b, f - 4, 1024), window k begins at frame k.
        """
        seen = self.netcnnlip(rearrange(frames, "b f c h w -> b c f h w"))
        windows = seen.shape[2]
        features = self.netfclip(rearrange(seen, "b c f 1 1 -> (b f) c"))
        return rearrange(features, "(b f) c -> b f c", f=windows)

    def sound_features(self, mfcc: Tensor) -> Tensor:
        """Windows of sound.

        Args:
            mfcc: (b, 20, 13) coefficients, 100 steps a second.
        Returns:
            (b, 1024).
        """
        heard = self.netcnnaud(rearrange(mfcc, "b t c -> b 1 c t"))
        return self.netfcaud(rearrange(heard, "b c 1 1 -> b c"))


def _seen_flat(
    inputs: int, outputs: int, kernel: int | tuple[int, int] = 3, padding: int = 1
) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(inputs, outputs, kernel, padding=padding),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _seen_in_time(
    inputs: int, outputs: int, kernel: tuple[int, int, int], stride: int = 1, padding: int = 1
) -> tuple[nn.Module, ...]:
    return (
        nn.Conv3d(inputs, outputs, kernel, (1, stride, stride), (0, padding, padding)),
        nn.BatchNorm3d(outputs),
        nn.ReLU(inplace=True),
    )


def _head() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(inplace=True), nn.Linear(512, WIDTH)
    )
