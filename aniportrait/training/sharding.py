"""Networks whose weights, gradients and optimizer state lie in parts on several devices (https://arxiv.org/abs/2304.11277)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.models.attention import FeedForward
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_map_only

from aniportrait.models.motion_module import MotionModule
from aniportrait.models.portrait_networks import PortraitNetworks

LAYERS = (ResnetBlock2D, FeedForward, MotionModule, Downsample2D, Upsample2D)
"""Whose weights are gathered and given up layer by layer. Spatial attention's, a seventh of a UNet, stay from a
network's forward to its end: a portrait's tokens leave from within, by a dict, and FSDP watches what layers return."""


def shard(networks: PortraitNetworks, mesh: DeviceMesh, half: bool) -> None:
    """From now on each process holds one part of every weight of what stages 1 and 2 train, on the mesh's device.

    Call it with the same weights on every rank, once they are loaded; a second call changes nothing. The frozen
    encoders stay whole. BatchNorm's running statistics are each rank's own; rank 0's are saved.

    Args:
        mesh: one-dimensional.
        half: gather weights in bfloat16, except BatchNorm's; parts, gradients' sums and optimizer state stay float32.
    """
    float32 = policy = MixedPrecisionPolicy(cast_forward_inputs=False)  # autocast sees to the inputs
    if half:
        policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
    if any(module._compiled_call_impl is not None for module in networks.modules()):
        raise ValueError(
            "compile must be null with trainer=sharded, which gathers weights inside of those layers"
        )
    for network in (networks.reference_net, networks.pose_guider, networks.denoising_unet):
        if isinstance(network, FSDPModule):
            continue
        network.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue] - FSDP2 cuts no other
        # They refuse weights of fewer bits than their running statistics have.
        for module in [part for part in network.modules() if isinstance(part, _BatchNorm)]:
            fully_shard(module, mesh=mesh, reshard_after_forward=True, mp_policy=float32)
        for module in (*layers_of(network), network):
            fully_shard(module, mesh=mesh, reshard_after_forward=True, mp_policy=policy)


def layers_of(network: nn.Module) -> list[nn.Module]:
    """The LAYERS of a network, less those within others."""
    moving = [module for module in network.modules() if isinstance(module, MotionModule)]
    inside = {part for module in moving for part in module.modules() if part is not module}
    return [part for part in network.modules() if isinstance(part, LAYERS) and part not in inside]


@contextmanager
def gathered(networks: nn.Module) -> Iterator[None]:
    """Inside, every rank has all weights, and no forward waits for other ranks: one may have less to do, or nothing.

    For validation: no gradients, and what optimizers and averages hold must be left alone. Networks that are not
    sharded are as ever.
    """
    parts = [module for module in networks.modules() if isinstance(module, FSDPModule)]
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    try:
        yield
    finally:
        for part in parts:
            part.reshard()
            part.set_reshard_after_forward(True, recurse=False)


def whole(state: Any) -> Any:
    """`state`, nested, its sharded tensors whole on rank 0's CPU and empty on the others, which must call it too."""
    return tree_map_only(DTensor, _whole, state)


def _whole(tensor: DTensor) -> Tensor:
    full = tensor.full_tensor()
    return full.cpu() if tensor.device_mesh.get_rank() == 0 else full.new_empty(0, device="cpu")


def part_of(full: Tensor, like: Tensor) -> Tensor:
    """This rank's part of a whole tensor, cut and placed as `like` is; the tensor itself where `like` is not cut."""
    if not isinstance(like, DTensor):
        return full
    full = full.to(like.device)
    return distribute_tensor(full, like.device_mesh, like.placements, src_data_rank=None)


def local(tensor: Tensor) -> Tensor:
    """What of a tensor lies on this rank."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
