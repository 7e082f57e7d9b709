"""A PoseDecoder's frames one after another, where each follows from the one before: the costly part of audio2pose.

A frame reads every weight once, and that is what most of its time goes to. So what is known beforehand is computed for
all frames at once, what is affine is multiplied out, and the rest is kept to as few operations as it takes.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aniportrait.models.pose_decoder import PoseDecoder, PoseDecoderLayer, causal_bias


class PoseRollout:
    """Decodes frame after frame: each is one token, for keys and values of the frames before are kept.

    Without dropout or gradients; faster under `torch.inference_mode()`.

    Args:
        decoder: whose frames.
        embed: what is known of the poses before a frame (n numbers) -> width.
        places: (b, f, width) added to what is embedded, for each frame.
        memory: (b, f, width) sound of all frames.
    """

    def __init__(self, decoder: PoseDecoder, embed: nn.Linear, places: Tensor, memory: Tensor):
        b, frames, _ = memory.shape
        self.size = min(frames, decoder.reach or frames)
        self.layers = [_LayerRollout(layer, memory, self.size) for layer in decoder.layers]
        place = torch.arange(self.size, device=memory.device)
        self.bias = causal_bias(decoder.slopes, place[-1:], place).to(memory.dtype).repeat(b, 1, 1)
        self.embed = embed.weight
        self.offsets = (places + embed.bias).unbind(1)
        # The first layer's queries, keys and values are an affine map of n numbers: its matrix times `embed`.
        project = decoder.layers[0].query_key_value
        self.project = project.weight @ embed.weight
        self.projected_offsets = project(places + embed.bias).unbind(1)
        self.frame = 0

    def __call__(self, before: Tensor) -> Tensor:
        """What is known of the poses before the next frame (b, n) -> decoded (b, width)."""
        frame, bias = self.frame, self._bias()
        pose = F.linear(before, self.embed).add_(self.offsets[frame])
        query_key_value = F.linear(before, self.project).add_(self.projected_offsets[frame])
        for layer in self.layers:
            if layer is not self.layers[0]:
                query_key_value = layer.query_key_value(pose)
            pose = layer(pose, query_key_value, frame, bias)
        self.frame += 1
        return pose

    def _bias(self) -> Tensor:
        """That of the last of `size` frames: cut while fewer are held, turned once they overwrite one another."""
        if self.frame < self.size:
            return self.bias.narrow(2, self.size - 1 - self.frame, self.frame + 1)
        return self.bias.roll(self.frame + 1, dims=2)


class _LayerRollout:
    """`PoseDecoderLayer.forward` of one frame after another; frame i is kept at place i modulo `size`."""

    def __init__(self, layer: PoseDecoderLayer, memory: Tensor, size: int):
        b, _, width = memory.shape
        k, d = layer.heads, width // layer.heads
        self.shape = (b, 3, k, d)
        self.scale = d**-0.5
        self.project = _weights(layer.query_key_value)
        self.linears = _weights(layer.attention_output, layer.expand, layer.contract)
        self.norms = _weights(layer.norm1, layer.norm2, layer.norm3)
        # What is heard is added after the first norm, as its bias is.
        self.heard = (layer.heard(memory) + layer.norm1.bias).unbind(1)
        held = memory.new_empty(2, b, k, size, d)
        self.places = held.unbind(3)
        self.keys, self.values = held.view(2, b * k, size, d).unbind(0)
        self.keys = self.keys.transpose(1, 2)

    def query_key_value(self, pose: Tensor) -> Tensor:
        """(b, width) -> (b, 3 * width)."""
        return F.linear(pose, *self.project)

    def __call__(self, pose: Tensor, query_key_value: Tensor, frame: int, bias: Tensor) -> Tensor:
        """Pose (b, width) of this frame, bias (b * k, 1, n) of the n frames held -> (b, width)."""
        w_out, b_out, w_expand, b_expand, w_contract, b_contract = self.linears
        g1, _, g2, b2, g3, b3 = self.norms
        (b, _, k, d), width, n = self.shape, pose.shape[1:], bias.shape[2]
        query, key_value = query_key_value.view(self.shape).transpose(0, 1).split_with_sizes((1, 2))
        self.places[frame % len(self.places)].copy_(key_value)
        scores = torch.baddbmm(bias, query.reshape(b * k, 1, d), self.keys.narrow(2, 0, n), alpha=self.scale)
        attended = torch.bmm(scores.softmax(2), self.values.narrow(1, 0, n)).view(pose.shape)
        pose = F.linear(attended, w_out, b_out).add_(pose)
        pose = torch.layer_norm(pose, width, g1).add_(self.heard[frame])
        pose = torch.layer_norm(pose, width, g2, b2)
        expanded = F.linear(pose, w_expand, b_expand).relu_()
        return torch.layer_norm(F.linear(expanded, w_contract, b_contract).add_(pose), width, g3, b3)


def _weights(*modules: Any) -> list[Tensor]:
    """Weight and bias of each, at hand: looking them up costs as much as a small operation does."""
    return [tensor for module in modules for tensor in (module.weight, module.bias)]
