"""A PoseDecoder's frames one after another, where each follows from the one before: the costly part of audio2pose.

A frame reads every weight once, and that is what its time goes to; the rest is kept to as few operations as it takes.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from aniportrait.models.pose_decoder import PoseDecoder, PoseDecoderLayer, causal_bias


class PoseRollout:
    """Decodes frame after frame: each is one token, for keys and values of the frames before are kept.

    The sound, which is known beforehand, is heard by all layers at once, for all frames. Without dropout or gradients.

    Args:
        decoder: whose frames.
        memory: (b, f, width) sound of all frames.
    """

    def __init__(self, decoder: PoseDecoder, memory: Tensor):
        b, frames, _ = memory.shape
        self.size = min(frames, decoder.reach or frames)
        self.layers = [_LayerRollout(layer, memory, self.size) for layer in decoder.layers]
        place = torch.arange(self.size, device=memory.device)
        self.bias = causal_bias(decoder.slopes, place[-1:], place).to(memory.dtype).repeat(b, 1, 1)
        self.frame = 0

    def __call__(self, pose: Tensor) -> Tensor:
        """The next frame's pose (b, 1, width) -> (b, 1, width)."""
        pose, bias = pose[:, 0], self._bias()
        for layer in self.layers:
            pose = layer(pose, self.frame, bias)
        self.frame += 1
        return pose[:, None]

    def _bias(self) -> Tensor:
        """That of the last of `size` frames: cut while fewer are held, turned once they overwrite one another."""
        if self.frame < self.size:
            return self.bias.narrow(2, self.size - 1 - self.frame, self.frame + 1)
        return self.bias.roll(self.frame + 1, dims=2)


class _LayerRollout:
    """`PoseDecoderLayer.forward` of one frame after another; frame i is kept at place i modulo `size`."""

    def __init__(self, layer: PoseDecoderLayer, memory: Tensor, size: int):
        b, _, width = memory.shape
        self.shape = (b, 3, layer.heads, width // layer.heads)
        self.scale = (width // layer.heads) ** -0.5
        self.linears = _weights(layer.query_key_value, layer.attention_output, layer.expand, layer.contract)
        self.norms = _weights(layer.norm1, layer.norm2, layer.norm3)
        self.heard = (layer.heard(memory) + layer.norm1.bias).unbind(1)  # both are added after the first norm
        held = memory.new_empty(2, b * layer.heads, size, width // layer.heads)
        self.places = held.unbind(2)
        self.keys, self.values = held[0].transpose(1, 2), held[1]

    def __call__(self, pose: Tensor, frame: int, bias: Tensor) -> Tensor:
        """Pose (b, width) of this frame, bias (b * k, 1, n) of the n frames held -> (b, width)."""
        w_in, b_in, w_out, b_out, w_expand, b_expand, w_contract, b_contract = self.linears
        g1, _, g2, b2, g3, b3 = self.norms
        (b, _, k, d), width, held = self.shape, pose.shape[1:], bias.shape[2]
        split = F.linear(pose, w_in, b_in).view(self.shape).transpose(0, 1).reshape(3, b * k, d)
        query, key_value = split.split_with_sizes((1, 2))
        self.places[frame % len(self.places)].copy_(key_value)
        scores = torch.baddbmm(bias, query.view(b * k, 1, d), self.keys.narrow(2, 0, held), alpha=self.scale)
        attended = torch.bmm(scores.softmax(2), self.values.narrow(1, 0, held)).view(b, k * d)
        pose = F.linear(attended, w_out, b_out).add_(pose)
        pose = torch.layer_norm(pose, width, g1).add_(self.heard[frame])
        pose = torch.layer_norm(pose, width, g2, b2)
        expanded = F.linear(pose, w_expand, b_expand).relu_()
        return torch.layer_norm(F.linear(expanded, w_contract, b_contract).add_(pose), width, g3, b3)


def _weights(*modules: Any) -> list[Tensor]:
    """Weight and bias of each, at hand: looking them up costs as much as small operations do."""
    return [tensor for module in modules for tensor in (module.weight, module.bias)]
