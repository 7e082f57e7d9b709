"""How much memory a training step takes, watched tensor by tensor; with fake tensors, at any size on any machine."""

import weakref
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from aniportrait.data.schema import PortraitBatch
from aniportrait.models.portrait_networks import Conditions
from aniportrait.training import portrait_step
from aniportrait.training.portrait_step import ConditionDropout
from aniportrait.training.stage1 import Stage1


class LiveMemory(TorchDispatchMode):
    """Inside, `now` and `peak` are the bytes of all storages alive that operations made."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._alive: dict[int, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                self.see(leaf)
        return made

    def see(self, tensor: Tensor) -> None:
        """Count a tensor's storage from now on, until it is freed."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._alive:
            self._alive[key] = weakref.ref(storage, lambda _: self._freed(key, size))
            self.now += size
            self.peak = max(self.peak, self.now)

    def _freed(self, key: int, size: int) -> None:
        del self._alive[key]
        self.now -= size


def norms_in_float32() -> ExitStack:
    """Autocast on a GPU normalises in float32, on a CPU in what comes: inside, a CPU does as a GPU.

    A TorchFunctionMode would not be asked by what gradient checkpointing computes again.
    """
    stack = ExitStack()
    for name in ("group_norm", "layer_norm"):
        stack.enter_context(patch.object(F, name, partial(_in_float32, getattr(F, name))))
    return stack


def _some_hidden(
    conditions: Conditions, dropout: ConditionDropout, generators: list
) -> tuple[Conditions, Tensor]:
    return conditions, torch.ones(len(generators), dtype=torch.bool, device=conditions.image_embeds.device)


def _in_float32(norm: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
    args, kwargs = tree_map_only(Tensor, Tensor.float, (args, kwargs))
    return norm(*args, **kwargs)


def example(b: int, f: int, side: int) -> PortraitBatch:
    """A batch of b clips of f frames of side x side pixels, nothing precomputed."""
    pixels = torch.rand(2, b, f, 3, side, side)
    portraits = torch.rand(2, b, 3, side, side)
    return PortraitBatch(
        frames=pixels[0],
        pose_image=pixels[1],
        reference_image=portraits[0],
        reference_pose_image=portraits[1],
        face_box=torch.rand(b, f, 4),
        mouth_box=torch.rand(b, f, 4),
        keys=[str(k) for k in range(b)],
        counted=torch.ones(b, dtype=torch.bool),
    )


def step_memory(module: Stage1, batch: PortraitBatch) -> tuple[int, int]:
    """Bytes that a bfloat16 step takes beside weights and gradients: at most at any time, and when forward ends.

    Every gradient is freed as soon as its weight has it: they are counted apart. Attention is masked, as where some
    portrait is hidden.
    """
    live = LiveMemory()
    for tensor in (*module.parameters(), *module.buffers(), *(t for t in batch if isinstance(t, Tensor))):
        live.see(tensor)
    before = live.now
    hooks = [
        weight.register_post_accumulate_grad_hook(_free_gradient)
        for weight in module.parameters()
        if weight.requires_grad
    ]
    generators = [torch.Generator().manual_seed(k) for k in range(len(batch.keys))]
    masked = patch.object(portrait_step, "drop_conditions", _some_hidden)
    with live, norms_in_float32(), masked:
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):  # as Lightning
            loss, _ = portrait_step.portrait_loss(
                module.networks,
                module.scheduler,
                module.conditions(batch),
                batch,
                module.settings,
                generators,
            )
        kept = live.now - before
        loss.backward()
    for hook in hooks:
        hook.remove()
    return live.peak - before, kept


def _free_gradient(weight: Tensor) -> None:
    weight.grad = None


def without_storage(module: nn.Module, dtypes: dict[nn.Module, torch.dtype]) -> None:
    """Under FakeTensorMode: replace weights and buffers, of the meta device, by fake ones of the CPU.

    Args:
        dtypes: of the weights of some of its parts.
    """
    other = {id(weight): dtype for part, dtype in dtypes.items() for weight in part.parameters()}
    for part in module.modules():
        for name, weight in part.named_parameters(recurse=False):
            fake = torch.empty_strided(
                weight.shape, weight.stride(), dtype=other.get(id(weight), weight.dtype)
            )
            part._parameters[name] = nn.Parameter(fake, weight.requires_grad)
        for name, buffer in part.named_buffers(recurse=False):
            part._buffers[name] = torch.empty_strided(buffer.shape, buffer.stride(), dtype=buffer.dtype)
