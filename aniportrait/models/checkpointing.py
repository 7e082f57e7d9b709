"""Gradient checkpointing of a UNet's layers, where it pays (https://arxiv.org/abs/1604.06174)."""

from typing import Any

import torch
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint

from aniportrait.models.motion_module import MotionModule

LARGE_LEVELS = 2
"""Of a UNet, from the whole picture down. Widths double while pixels become a quarter: of a clip at 512 pixels, with
Stable Diffusion's layout, the levels below hold 0.9 GiB, with autocast's copies of their weights 2.9, and are 37 % of
the operations that would be done twice."""


def checkpoint_layers(unet: Any) -> None:
    """From now on every layer of a UNet's LARGE_LEVELS recomputes its activations backwards.

    diffusers' own switch takes all levels, and leaves out motion modules, the projections around a transformer's
    blocks, and resampling. A layer changes its class, as under torch's parametrizations: names, weights, copies and
    pickles stay what they were.
    """
    blocks = (*unet.down_blocks[:LARGE_LEVELS], *unet.up_blocks[-LARGE_LEVELS:])
    for module in (module for block in blocks for module in block.modules()):
        checkpointed = _CHECKPOINTED.get(type(module))
        if checkpointed is not None:
            module.__class__ = checkpointed


class _Checkpointed:
    """Before a module's class: keeps its inputs instead of its activations."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        forward = super().forward  # pyright: ignore[reportAttributeAccessIssue]
        if not (torch.is_grad_enabled() and self._gets_gradients(args, kwargs)):
            return forward(*args, **kwargs)
        return checkpoint(forward, *args, use_reentrant=False, **kwargs)

    def _gets_gradients(self, args: Any, kwargs: Any) -> bool:
        """Whether there is a backward; not before stage 2's first motion module, where inductor takes no checkpoint."""
        given = (leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor))
        weights = self.parameters()  # pyright: ignore[reportAttributeAccessIssue]
        return any(tensor.requires_grad for tensor in (*given, *weights))


class _CheckpointedResnet(_Checkpointed, ResnetBlock2D):
    pass


class _CheckpointedTransformer(_Checkpointed, Transformer2DModel):
    pass


class _CheckpointedMotion(_Checkpointed, MotionModule):
    pass


class _CheckpointedDownsample(_Checkpointed, Downsample2D):
    pass


class _CheckpointedUpsample(_Checkpointed, Upsample2D):
    pass


_CHECKPOINTED: dict[type[nn.Module], Any] = {
    ResnetBlock2D: _CheckpointedResnet,
    Transformer2DModel: _CheckpointedTransformer,
    MotionModule: _CheckpointedMotion,
    Downsample2D: _CheckpointedDownsample,
    Upsample2D: _CheckpointedUpsample,
}
