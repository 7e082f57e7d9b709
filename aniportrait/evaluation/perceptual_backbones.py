"""The convolutional layers of AlexNet and VGG16, and which of their outputs are compared.

Layers are numbered as torchvision numbers them in `features`, so that its published weights fit.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Backbone:
    """Layers, and where to look.

    Args:
        name: of the network.
        layers: makes them, with random weights.
        taps: numbers of the layers whose outputs are compared.
        widths: channels of each of these outputs.
    """

    name: str
    layers: Callable[[], nn.Sequential]
    taps: tuple[int, ...]
    widths: tuple[int, ...]


class Blur(nn.Module):
    """Every second pixel of a picture blurred with (1, 2, 1) / 4 either way; two mirrored pixels around it."""

    kernel: Tensor

    def __init__(self):
        super().__init__()
        binomial = torch.tensor((1.0, 2.0, 1.0)) / 4
        self.register_buffer("kernel", torch.outer(binomial, binomial)[None, None], persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, c, h / 2 + 1, w / 2 + 1)"""
        channels = maps.shape[1]
        padded = F.pad(maps, (2, 2, 2, 2), mode="reflect")
        return F.conv2d(padded, self.kernel.expand(channels, -1, -1, -1), stride=2, groups=channels)


def _alexnet() -> nn.Sequential:
    """Krizhevsky, "One weird trick for parallelizing convolutional neural networks" (arXiv 1404.5997)."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2),
        *_alexnet_end(),
    )


def _shift_tolerant_alexnet() -> nn.Sequential:
    """AlexNet in which every step of more than a pixel is a step of one and a blur (arXiv 2207.13686)."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, padding=2),
        Blur(),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=1),
        Blur(),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=1),
        Blur(),
        *_alexnet_end(),
    )


def _alexnet_end() -> list[nn.Module]:
    return [
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(inplace=True),
    ]


def _vgg16(*pool: Callable[[], nn.Module]) -> nn.Sequential:
    """Simonyan and Zisserman (arXiv 1409.1556), configuration D."""
    layers: list[nn.Module] = []
    width = 3
    for block, (wider, convolutions) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))):
        layers += [make() for make in pool] if block else []
        for _ in range(convolutions):
            layers += [nn.Conv2d(width, wider, 3, padding=1), nn.ReLU(inplace=True)]
            width = wider
    return nn.Sequential(*layers)


def _plain_vgg16() -> nn.Sequential:
    return _vgg16(lambda: nn.MaxPool2d(2, stride=2))


def _shift_tolerant_vgg16() -> nn.Sequential:
    return _vgg16(lambda: nn.MaxPool2d(2, stride=1), Blur)


_ALEXNET_WIDTHS, _VGG16_WIDTHS = (64, 192, 384, 256, 256), (64, 128, 256, 512, 512)

PLAIN = {
    "alex": Backbone("AlexNet", _alexnet, (1, 4, 7, 9, 11), _ALEXNET_WIDTHS),
    "vgg": Backbone("VGG16", _plain_vgg16, (3, 8, 15, 22, 29), _VGG16_WIDTHS),
}
SHIFT_TOLERANT = {
    "alex": Backbone("AlexNet", _shift_tolerant_alexnet, (2, 6, 10, 12, 14), _ALEXNET_WIDTHS),
    "vgg": Backbone("VGG16", _shift_tolerant_vgg16, (3, 9, 17, 25, 33), _VGG16_WIDTHS),
}
