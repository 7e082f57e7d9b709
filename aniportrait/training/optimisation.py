"""The optimizer and learning-rate schedule of a LightningModule, over what is trainable only."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn


def optimisers(
    networks: nn.Module, optimizer: Callable[..., torch.optim.Optimizer], lr_schedule: Callable[..., Any]
) -> dict[str, Any]:
    """What `configure_optimizers` returns: `optimizer` on the parameters that take gradients, the schedule per step."""
    trainable = [weight for weight in networks.parameters() if weight.requires_grad]
    built = optimizer(trainable)
    # Lightning clips no gradients that an optimizer unscales by itself: a fused one could, and now leaves it to others.
    cast(Any, built)._step_supports_amp_scaling = False
    built.register_load_state_dict_post_hook(_lay_out_as_weights)
    return {
        "optimizer": built,
        "lr_scheduler": {"scheduler": lr_schedule(optimizer=built), "interval": "step"},
    }


def freeze(networks: nn.Module, beginning: str) -> None:
    """Train none of the weights whose names begin so; ValueError if there are none."""
    chosen = [weight for name, weight in networks.named_parameters() if name.startswith(beginning)]
    if not chosen:
        raise ValueError(f"frozen ({beginning}) must be the beginning of a weight's name")
    for weight in chosen:
        weight.requires_grad_(False)


def _lay_out_as_weights(optimizer: torch.optim.Optimizer) -> None:
    """Give loaded state the strides of its weights: a fused step walks both by address, in silence where they differ.

    So they do if weights are channels_last and their state is of a sharded run, or the other way round.
    """
    for weight, state in optimizer.state.items():
        for name, value in state.items():
            if (
                isinstance(value, Tensor)
                and value.shape == weight.shape
                and value.stride() != weight.stride()
            ):
                state[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value)
