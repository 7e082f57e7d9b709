"""torch.compile, layer by layer (https://docs.pytorch.org/tutorials/recipes/regional_compilation.html)."""

import torch
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import nn

from aniportrait.models.motion_module import MotionModule

LAYERS = (ResnetBlock2D, Transformer2DModel, MotionModule)
VARIANTS = 8
"""Of a layer: training, validation and sampling differ in shapes and gradients. More run uncompiled: torch says so."""


def compile_layers(network: nn.Module, backend: str) -> None:
    """From now on the layers of a UNet are compiled when they are first called, in place: names and weights stay.

    Layers compile in seconds where a whole UNet takes minutes, and equal ones share what the compiler made. Each counts
    its variants by itself, or torch's limit of 8 for all layers together would leave most of them uncompiled.

    Args:
        backend: of torch.compile, such as inductor.
    """
    layers = [module for module in network.modules() if isinstance(module, LAYERS)]
    for layer in layers:
        layer.compile(backend=backend, dynamic=False, recompile_limit=VARIANTS, isolate_recompiles=True)
    config = torch._dynamo.config
    # A checkpointed layer of ReferenceNet records its tokens in a dict: once, and not again when it is computed again.
    config.skip_fwd_side_effects_in_bwd_under_checkpoint = True
    config.accumulated_recompile_limit = max(config.accumulated_recompile_limit, 2 * VARIANTS * len(layers))
