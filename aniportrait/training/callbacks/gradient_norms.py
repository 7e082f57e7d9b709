"""How large gradients are, in all and network by network, before they are clipped."""

from collections import defaultdict

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer


class GradientNorms(Callback):
    """At the logging interval logs `gradient_norm/total` and `gradient_norm/<network>`, 2-norms.

    They are what the optimizer is about to be given: of the whole accumulated batch, of all ranks, without the loss
    scale of float16, not yet clipped. Networks are the module's `networks`; motion modules count apart from their
    denoiser. A network that takes no gradients has no figure, so under DeepSpeed, which keeps them to itself, nothing
    is logged.
    """

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        if (trainer.global_step + 1) % trainer.log_every_n_steps:  # type: ignore[attr-defined]
            return
        gradients: dict[str, list[Tensor]] = defaultdict(list)
        for name, weight in pl_module.named_parameters():
            if weight.grad is not None:
                gradients[_network(name)].append(weight.grad)
        if not gradients:
            return
        norms = {network: _norm(parts) for network, parts in gradients.items()}
        norms["total"] = torch.linalg.vector_norm(torch.stack(list(norms.values())))
        pl_module.log_dict({f"gradient_norm/{name}": norm for name, norm in norms.items()}, batch_size=1)


def _network(parameter: str) -> str:
    if "motion_modules." in parameter:
        return "motion_modules"
    return parameter.removeprefix("networks.").split(".")[0]


def _norm(gradients: list[Tensor]) -> Tensor:
    norm = get_total_norm(gradients)
    return norm.full_tensor() if isinstance(norm, DTensor) else norm
