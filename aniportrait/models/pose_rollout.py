"""A PoseDecoder's frames one after another, where each follows from the one before: the costly part of audio2pose.

A frame reads every weight once, and that is what most of its time goes to. So what is known beforehand is computed for
all frames at once, what is affine is multiplied out, and the rest is kept to as few operations as it takes.
"""

from typing import Any

import torch
from torch import Tensor, nn

from aniportrait.models.pose_decoder import PoseDecoder, PoseDecoderLayer, causal_bias


class PoseRollout:
    """Decodes frame after frame: each is one token, for keys and values of the frames before are kept.

    Without dropout or gradients: to be made and called under `torch.inference_mode()`.

    Args:
        decoder: whose frames.
        embed: what is known of the poses before a frame (n numbers) -> width.
        places: (b, f, width) added to what is embedded, for each frame.
        memory: (b, f, width) sound of all frames.
    """

    def __init__(self, decoder: PoseDecoder, embed: nn.Linear, places: Tensor, memory: Tensor):
        b, frames, _ = memory.shape
        layers: list[Any] = list(decoder.layers)
        self.size = min(frames, decoder.reach or frames)
        after = [layer.attention_output.bias for layer in layers[1:]] + [torch.zeros_like(embed.bias)]
        self.layers = [
            _LayerRollout(layer, memory, self.size, bias) for layer, bias in zip(layers, after, strict=True)
        ]
        place = torch.arange(self.size, device=memory.device)
        self.bias = causal_bias(decoder.slopes, place[-1:], place).to(memory.dtype).repeat(b, 1, 1)
        # The first layer's queries, keys and values are an affine map of n numbers: its matrix times `embed`.
        offsets, first = places + embed.bias, layers[0].query_key_value
        self.embed = embed.weight.t()
        self.offsets = (offsets + layers[0].attention_output.bias).unbind(1)
        self.project = (first.weight @ embed.weight).t()
        self.projected_offsets = first(offsets).unbind(1)
        self.frame = 0

    def __call__(self, before: Tensor) -> Tensor:
        """What is known of the poses before the next frame (b, n) -> decoded (b, width)."""
        frame, bias, (first, *others) = self.frame, self._bias(), self.layers
        torch.addmm(self.projected_offsets[frame], before, self.project, out=first.query_key_value)
        pose = first(torch.addmm(self.offsets[frame], before, self.embed), frame, bias)
        for layer in others:
            layer.project(pose)
            pose = layer(pose, frame, bias)
        self.frame += 1
        return pose

    def _bias(self) -> Tensor:
        """That of the last of `size` frames: cut while fewer are held, turned once they overwrite one another."""
        if self.frame < self.size:
            return self.bias.narrow(2, self.size - 1 - self.frame, self.frame + 1)
        return self.bias.roll(self.frame + 1, dims=2)


class _LayerRollout:
    """`PoseDecoderLayer.forward` of one frame after another; frame i is kept at place i modulo `size`.

    A product is added to the residual in one operation, and so its bias comes with the residual, from the norm that
    made it: poses come with the bias of `attention_output` and leave with the next layer's, `after` (width).
    What is read within a step alone always lies in the same memory, so that views of it are made once.
    """

    def __init__(self, layer: PoseDecoderLayer, memory: Tensor, size: int, after: Tensor):
        b, _, width = memory.shape
        k, d = layer.heads, width // layer.heads
        self.scale, self.width = d**-0.5, (width,)
        self.projection = _of_shifted(layer.query_key_value, layer.attention_output.bias)
        self.output = layer.attention_output.weight.t()
        self.expand = _of_shifted(layer.expand, layer.contract.bias)
        self.contract = layer.contract.weight.t()
        self.norm1 = layer.norm1.weight
        self.heard = (layer.heard(memory) + layer.norm1.bias).unbind(1)  # added where the norm's bias is
        self.norm2 = layer.norm2.weight, layer.norm2.bias + layer.contract.bias
        self.norm3 = layer.norm3.weight, layer.norm3.bias + after

        held = memory.new_empty(2, b, k, size, d)
        self.places = held.unbind(3)
        keys, self.values = held.view(2, b * k, size, d).unbind(0)
        self.keys = keys.transpose(1, 2)
        self.query_key_value = memory.new_empty(b, 3 * width)
        by_kind = self.query_key_value.view(b, 3, k, d).transpose(0, 1)
        self.own_query, self.own_key_value = by_kind[0], by_kind[1:]
        self.query, self.attended = memory.new_empty(2, b * k, 1, d).unbind(0)
        self.query_of_clips, self.attended_of_clips = self.query.view(b, k, d), self.attended.view(b, width)
        self.expanded = memory.new_empty(b, layer.expand.out_features)

    def project(self, pose: Tensor) -> None:
        """Make `query_key_value` of this frame's pose (b, width)."""
        weight, bias = self.projection
        torch.addmm(bias, pose, weight, out=self.query_key_value)

    def __call__(self, pose: Tensor, frame: int, bias: Tensor) -> Tensor:
        """Pose (b, width) of this frame, bias (b * k, 1, n) of the n frames held -> (b, width)."""
        n = bias.shape[2]
        self.query_of_clips.copy_(self.own_query)
        self.places[frame % len(self.places)].copy_(self.own_key_value)
        scores = torch.baddbmm(bias, self.query, self.keys.narrow(2, 0, n), alpha=self.scale)
        torch.bmm(scores.softmax(2), self.values.narrow(1, 0, n), out=self.attended)
        pose = torch.addmm(pose, self.attended_of_clips, self.output)
        pose = torch.layer_norm(pose, self.width, self.norm1).add_(self.heard[frame])
        pose = torch.layer_norm(pose, self.width, *self.norm2)
        weight, shifted = self.expand
        torch.addmm(shifted, pose, weight, out=self.expanded).relu_()
        return torch.layer_norm(torch.addmm(pose, self.expanded, self.contract), self.width, *self.norm3)


def _of_shifted(linear: nn.Linear, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Weight (in, out) and bias that make of x + shift what `linear` makes of x."""
    return linear.weight.t(), linear.bias - linear.weight @ shift
