"""EfficientNet-Lite0, an image classifier for phones, with the key names of the weights a pip package carries."""

import torch.nn.functional as F
from torch import Tensor, nn

SIZE = 224
STAGES = (
    # kernel, stride, expansion, channels, blocks
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)


class EfficientNetLite0(nn.Module):
    """Images -> 1280 numbers each, those that its classes are taken from (arXiv 1905.11946; Lite: 2020).

    Lite means ReLU6 for swish, and no squeeze and excitation. `_fc` holds the 1000 classes: it is in the file and no
    feature needs it.
    """

    width = 1280

    def __init__(self):
        super().__init__()
        self._conv_stem = nn.Conv2d(3, 32, 3, stride=2, bias=False)
        self._bn0 = norm(32)
        self._blocks = nn.ModuleList()
        inputs = 32
        for kernel, stride, expansion, channels, blocks in STAGES:
            for number in range(blocks):
                self._blocks.append(Block(inputs, channels, kernel, 1 if number else stride, expansion))
                inputs = channels
        self._conv_head = nn.Conv2d(inputs, self.width, 1, bias=False)
        self._bn1 = norm(self.width)
        self._fc = nn.Linear(self.width, 1000)

    def forward(self, images: Tensor) -> Tensor:
        """(b, 3, 224, 224), (RGB - 127) / 128 -> (b, 1280)."""
        hidden = F.relu6(self._bn0(self._conv_stem(padded(images, 3, 2))))
        for block in self._blocks:
            hidden = block(hidden)
        return F.relu6(self._bn1(self._conv_head(hidden))).mean(dim=(2, 3))


class Block(nn.Module):
    """Widen, convolve channel by channel, narrow; added to the input where the shape stays."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        inner = inputs * expansion
        if expansion > 1:
            self._expand_conv = nn.Conv2d(inputs, inner, 1, bias=False)
            self._bn0 = norm(inner)
        self._depthwise_conv = nn.Conv2d(inner, inner, kernel, stride, groups=inner, bias=False)
        self._bn1 = norm(inner)
        self._project_conv = nn.Conv2d(inner, outputs, 1, bias=False)
        self._bn2 = norm(outputs)
        self.kernel, self.stride = kernel, stride
        self.widens = expansion > 1
        self.adds = stride == 1 and inputs == outputs

    def forward(self, hidden: Tensor) -> Tensor:
        inner = F.relu6(self._bn0(self._expand_conv(hidden))) if self.widens else hidden
        inner = F.relu6(self._bn1(self._depthwise_conv(padded(inner, self.kernel, self.stride))))
        narrow = self._bn2(self._project_conv(inner))
        return hidden + narrow if self.adds else narrow


def norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


def padded(hidden: Tensor, kernel: int, stride: int) -> Tensor:
    """TensorFlow's SAME for even sizes: where a stride of 2 leaves an odd row and column, they come last."""
    total = kernel - stride
    return F.pad(hidden, (total // 2, total - total // 2) * 2)
