"""The decoder of both audio2pose networks: a transformer over past poses that hears the sound of each frame."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

POSE_SIZE = 6
"""Euler xyz in degrees, translation in cm."""


class PoseDecoderLayer(nn.Module):
    """Post-norm transformer layer over past poses; frame i of the sound enters at pose i only.

    AniPortrait masks its cross-attention down to the diagonal. A softmax over one key is 1, so what remains
    of it is `memory_output(memory_value(memory))`: its queries and keys cannot matter and are left out.

    Args:
        width: of poses and memory.
        heads: of the self-attention.
        hidden: width of the feed-forward part.
        dropout: on attention weights and on each of the three residuals.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_output = nn.Linear(width, width)
        self.memory_value = nn.Linear(width, width)
        self.memory_output = nn.Linear(width, width)
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, width)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))

    def heard(self, memory: Tensor) -> Tensor:
        """What cross-attention makes of the sound of each frame, (b, f, width) -> (b, f, width)."""
        return self.memory_output(self.memory_value(memory))

    def forward(self, pose: Tensor, heard: Tensor, bias: Tensor) -> Tensor:
        """Args:
            pose, heard: (b, f, width).
            bias: (heads, f, f) added to the attention scores, -inf where a frame may not look.
        Returns:
            (b, f, width).
        """
        query, key, value = rearrange(
            self.query_key_value(pose), "b f (s k d) -> s b k f d", s=3, k=self.heads
        )
        attended = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=bias.to(query.dtype),
            dropout_p=self.dropout if self.training else 0.0,
        )
        attended = self.attention_output(rearrange(attended, "b k f d -> b f (k d)"))
        pose = self.norm1(pose + self._dropped(attended))
        pose = self.norm2(pose + self._dropped(heard))
        expanded = self._dropped(F.relu(self.expand(pose)))
        return self.norm3(pose + self._dropped(self.contract(expanded)))

    def _dropped(self, hidden: Tensor) -> Tensor:
        return F.dropout(hidden, self.dropout, self.training)


class PoseDecoder(nn.Module):
    """A stack of PoseDecoderLayer whose attention fades with distance (ALiBi, arXiv 2108.12409).

    Args:
        width, layers, heads, hidden, dropout: see PoseDecoderLayer.
        reach: frames a frame looks back to, itself included; None for all.
    """

    layers: Any  # nn.ModuleList of PoseDecoderLayer
    slopes: Tensor

    def __init__(
        self, width: int, layers: int, heads: int, hidden: int, dropout: float = 0.1, reach: int | None = None
    ):
        super().__init__()
        self.reach = reach
        self.layers = nn.ModuleList(PoseDecoderLayer(width, heads, hidden, dropout) for _ in range(layers))
        self.register_buffer("slopes", alibi_slopes(heads), persistent=False)

    def forward(self, pose: Tensor, memory: Tensor) -> Tensor:
        """Pose and memory (b, f, width) of all frames at once -> (b, f, width)."""
        frame = torch.arange(pose.shape[1], device=pose.device)
        bias = causal_bias(self.slopes, frame, frame, self.reach)
        for layer in self.layers:
            pose = layer(pose, layer.heard(memory), bias)
        return pose


def alibi_slopes(heads: int) -> Tensor:
    """(heads,) slopes 2^(-8/heads), 2^(-16/heads), ...: for 8 heads 1/2, 1/4, ..., 1/256."""
    return 2.0 ** (-8.0 / heads * torch.arange(1, heads + 1))


def causal_bias(slopes: Tensor, query: Tensor, key: Tensor, reach: int | None = None) -> Tensor:
    """What is added to attention scores: minus slope times distance; -inf for the future and beyond reach.

    Args:
        slopes: (heads,).
        query, key: (q,) and (k,) the frames they belong to.
        reach: frames a query looks back to, itself included; None for all.
    Returns:
        (heads, q, k).
    """
    distance = query[:, None] - key
    hidden = (distance < 0) if reach is None else (distance < 0) | (distance >= reach)
    return (-slopes[:, None, None] * distance).masked_fill(hidden, -math.inf)


def shifted(head_pose: Tensor) -> Tensor:
    """(b, f, 6) -> the pose before each frame; the reference pose, all zero, before the first."""
    return F.pad(head_pose[:, :-1], (0, 0, 1, 0))


def identity_vector(embedding: nn.Embedding, identity: Tensor | None, batch: int) -> Tensor:
    """(batch, 1, width) of each clip's style; the mean of all styles where none is named."""
    if identity is None:
        return embedding.weight.mean(dim=0).expand(batch, 1, -1)
    return embedding(identity)[:, None]


def check_style(style: int | None, embedding: nn.Embedding) -> None:
    """A ValueError unless `style` is one of the embedding's, or None."""
    if style is not None and not 0 <= style < embedding.num_embeddings:
        raise ValueError(f"style ({style}) must be from 0 to {embedding.num_embeddings - 1}")


def encoder_width(encoder: nn.Module) -> int:
    """Width of an audio encoder's features."""
    width = getattr(encoder, "width", None)
    if not isinstance(width, int):
        raise ValueError(f"audio encoder {type(encoder).__name__} must have an integer attribute width")
    return width
