"""PoseGuiders: drawn landmarks -> one feature map per level of the denoising UNet, and one for its input."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from einops import rearrange
from torch import Tensor, nn


class ReferenceAwarePoseGuider(nn.Module):
    """Landmarks of the frames, compared with the portrait's by cross-attention at every scale.

    Every output is zero at initialisation, so a pretrained denoiser starts undisturbed.

    Args:
        block_out_channels: widths of the denoising UNet's levels.
        width: of the finest scale; each coarser one is twice as wide, up to 4 x width.
        attention_heads: must divide `width`.
        gain: of every output; above 1 the landmarks are heard sooner, for denoisers that start from nothing.
        factor: pixels per latent pixel, each way.
    """

    together = False
    """Whether a frame's features depend on the frames that come with it."""

    def __init__(
        self,
        block_out_channels: Sequence[int] = (320, 640, 1280, 1280),
        width: int = 32,
        attention_heads: int = 4,
        gain: float = 1.0,
        factor: int = 8,
    ):
        super().__init__()
        if width % (2 * attention_heads):
            raise ValueError(
                f"width ({width}) must be a multiple of twice attention_heads ({attention_heads})"
            )
        self.factor = factor
        self.gain = gain
        levels = len(block_out_channels)
        widths = [width * min(2**i, 4) for i in range(levels)]
        widths.append(widths[-1])
        # A patch becomes a pixel, as in T2I-Adapter: thin lines keep their place and the rest is cheap.
        self.stem = nn.Sequential(
            nn.PixelUnshuffle(factor), nn.Conv2d(3 * factor**2, width, 3, padding=1, bias=False)
        )
        self.scales = nn.ModuleList(
            _GuidedScale(
                in_width=widths[max(i - 1, 0)],
                out_width=widths[i],
                channels=block_out_channels[max(i - 1, 0)],
                halve=0 < i < levels,
                attention_heads=attention_heads,
            )
            for i in range(levels + 1)
        )

    def forward(self, pose_image: Tensor, reference_pose_image: Tensor) -> tuple[Tensor, ...]:
        """Guide.

        Args:
            pose_image: (b, f, 3, h, w) in [-1, 1].
            reference_pose_image: (b, 3, h, w) in [-1, 1], the portrait's own landmarks.

        Returns:
            levels + 1 of (b, f, c, h / factor, w / factor) and coarser.
        """
        _check_divisible(pose_image, self.factor)
        b, f = pose_image.shape[:2]
        # Black becomes zero: else the empty background, nearly all of the picture, drowns the lines in every norm.
        hidden = self.stem((rearrange(pose_image, "b f c h w -> (b f) c h w") + 1) / 2)
        reference = self.stem((reference_pose_image + 1) / 2)
        features = []
        for scale in self.scales:
            hidden, reference, feature = scale(hidden, reference)
            features.append(self.gain * rearrange(feature, "(b f) c h w -> b f c h w", b=b, f=f))
        return tuple(features)


class _GuidedScale(nn.Module):
    """One scale: shared convolutions, the frames' look at the portrait's landmarks, a silent head."""

    def __init__(self, in_width: int, out_width: int, channels: int, halve: bool, attention_heads: int):
        super().__init__()
        self.halve = nn.Conv2d(in_width, in_width, 3, stride=2, padding=1) if halve else nn.Identity()
        self.resnet = ResnetBlock2D(
            in_channels=in_width,
            out_channels=out_width,
            temb_channels=None,  # pyright: ignore[reportArgumentType]
            groups=math.gcd(in_width, 8),
        )
        self.norm = nn.LayerNorm(out_width)
        self.attention = Attention(
            out_width,
            cross_attention_dim=out_width,
            heads=attention_heads,
            dim_head=out_width // attention_heads,
        )
        self.head = nn.Sequential(nn.GroupNorm(math.gcd(out_width, 8), out_width), nn.SiLU())
        self.project = nn.Conv2d(out_width, channels, 1)
        _silence(self.project)

    def forward(self, hidden: Tensor, reference: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Frames (b * f, c, h, w) and portrait (b, c, h, w) of the finer scale -> both here, a feature."""
        hidden = self.resnet(self.halve(hidden), None)
        reference = self.resnet(self.halve(reference), None)
        b, _, h, w = reference.shape
        place = _places(h, w, hidden.shape[1], hidden)
        queries = self.norm(rearrange(hidden, "n c h w -> n (h w) c")) + place
        keys = self.norm(rearrange(reference, "b c h w -> b (h w) c")) + place
        # Frames of a clip become more queries to the same keys, so the portrait is never repeated.
        compared = self.attention(
            rearrange(queries, "(b f) l c -> b (f l) c", b=b), encoder_hidden_states=keys
        )
        hidden = hidden + rearrange(compared, "b (f h w) c -> (b f) c h w", h=h, w=w)
        return hidden, reference, self.project(self.head(hidden))


def _places(h: int, w: int, width: int, like: Tensor) -> Tensor:
    """Sines of row and column in [0, 1] at rising frequencies, (h * w, width): where a token lies."""
    frequencies = math.pi * 2.0 ** torch.linspace(0, 5, width // 4, device=like.device)
    rows = (torch.arange(h, device=like.device) + 0.5)[:, None] / h * frequencies
    columns = (torch.arange(w, device=like.device) + 0.5)[:, None] / w * frequencies
    rows, columns = rows[:, None].expand(-1, w, -1), columns[None].expand(h, -1, -1)
    place = torch.cat([rows.sin(), rows.cos(), columns.sin(), columns.cos()], dim=-1)
    return place.flatten(0, 1).to(like.dtype)


TRAINING_RANGE = (-1.0, 1.0)


class PublishedPoseGuider(nn.Module):
    """The PoseGuider of AniPortrait's published weights, key for key.

    Its "cross attention" is self-attention: the portrait's landmarks never reach the output (upstream #170).

    Args:
        block_out_channels: widths of the denoising UNet's levels.
        attention_heads, attention_head_dim: of the four transformers.
        statistics: what its BatchNorm uses outside training. "batch": the frames given, as upstream does
            everywhere, so that features depend on which frames come together. "running": the stored averages.
        input_range: what black and white, -1 and 1 here, are to its first convolution outside training. Upstream
            samples with (-1, 509): twice the byte, less one, of which drawn colours reach 439. It trains, and gathers
            the stored averages, with (-1, 1), as this does too, and "running" can have no other range. Batch
            statistics forgive a range, but not entirely: the convolutions' padding is zero in any.
        attend: without the transformers, the published keys less `cross_attn*`.
    """

    def __init__(
        self,
        block_out_channels: Sequence[int] = (320, 640, 1280, 1280),
        attention_heads: int = 16,
        attention_head_dim: int = 88,
        statistics: str = "batch",
        input_range: Sequence[float] = TRAINING_RANGE,
        attend: bool = True,
    ):
        super().__init__()
        if statistics not in _NORMS:
            raise ValueError(f"statistics {statistics!r} must be one of {', '.join(_NORMS)}")
        if statistics == "running" and tuple(input_range) != TRAINING_RANGE:
            raise ValueError(
                f"input_range {tuple(input_range)} must be {TRAINING_RANGE} with running statistics, which were "
                "gathered in it"
            )
        self.together = statistics == "batch"
        self.input_range = tuple(input_range)
        norm = _NORMS[statistics]
        stem = (
            (3, 3, 1),
            (3, 16, 2),
            (16, 16, 1),
            (16, 32, 2),
            (32, 32, 1),
            (32, 64, 2),
            (64, 64, 1),
            (64, 128, 1),
        )
        self.conv_layers = _convolutions(stem, norm, halving_kernel=4)
        self.final_proj = nn.Conv2d(128, block_out_channels[0], 1)
        self.scale = nn.Parameter(torch.full((1,), 2.0))
        self.levels = len(block_out_channels)
        before = block_out_channels[0]
        for level, channels in enumerate(block_out_channels, start=1):
            last = level == self.levels
            widths = ((before, channels, 1),) if last else ((before, before, 1), (before, channels, 2))
            setattr(self, f"conv_layers_{level}", _convolutions(widths, norm, halving_kernel=3))
            if attend:
                setattr(
                    self,
                    f"cross_attn{level}",
                    Transformer2DModel(attention_heads, attention_head_dim, channels),
                )
            before = channels
        self._initialise()

    def forward(self, pose_image: Tensor, reference_pose_image: Tensor | None = None) -> tuple[Tensor, ...]:
        """As ReferenceAwarePoseGuider; `reference_pose_image` is taken and ignored, as upstream does."""
        _check_divisible(pose_image, 8)
        b = pose_image.shape[0]
        black, white = TRAINING_RANGE if self.training else self.input_range
        image = black + (white - black) * (pose_image + 1) / 2
        hidden = self.conv_layers(rearrange(image, "b f c h w -> (b f) c h w"))
        hidden = self.final_proj(hidden) * self.scale
        features = [hidden]
        for level in range(1, self.levels + 1):
            hidden = getattr(self, f"conv_layers_{level}")(hidden)
            attention = getattr(self, f"cross_attn{level}", None)
            if attention is not None:
                hidden = attention(hidden, return_dict=False)[0]
            features.append(hidden)
        return tuple(rearrange(feature, "(b f) c h w -> b f c h w", b=b) for feature in features)

    def _initialise(self) -> None:
        """He-normal convolutions, zero biases, and a zero first feature."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d) and name.startswith("conv_layers"):
                _silence(module)
                nn.init.kaiming_normal_(module.weight)
        _silence(self.final_proj)


class BatchStatisticsNorm(nn.BatchNorm2d):
    """BatchNorm that uses its input's statistics in eval mode too, and then leaves the running ones alone."""

    def forward(self, input: Tensor) -> Tensor:
        if self.training:
            return super().forward(input)
        return F.batch_norm(input, None, None, self.weight, self.bias, training=True, eps=self.eps)


_NORMS: dict[str, type[nn.BatchNorm2d]] = {"batch": BatchStatisticsNorm, "running": nn.BatchNorm2d}


def _convolutions(
    widths: Sequence[tuple[int, int, int]], norm: type[nn.BatchNorm2d], halving_kernel: int
) -> nn.Sequential:
    """(in, out, stride) -> convolution, norm and ReLU each."""
    layers: list[nn.Module] = []
    for before, after, stride in widths:
        kernel = halving_kernel if stride == 2 else 3
        layers += [nn.Conv2d(before, after, kernel, stride, padding=1), norm(after), nn.ReLU()]
    return nn.Sequential(*layers)


def _silence(module: nn.Module) -> None:
    """Make a linear or convolution give zeros."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)


def _check_divisible(pose_image: Tensor, factor: int) -> None:
    h, w = pose_image.shape[-2:]
    if h % factor or w % factor:
        raise ValueError(f"pose image of {h}x{w} must have sides that {factor} divides")
