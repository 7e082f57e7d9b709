"""trainer=sharded: stages 1 and 2 on cards that cannot hold weights, gradients and optimizer state at once."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.strategies.strategy import Strategy
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch.optim import Optimizer

from aniportrait.training.sharding import part_of, whole


class Sharded(ModelParallelStrategy):
    """PyTorch's FSDP2 over all devices of all machines, with the checkpoints of an unsharded run.

    Lightning's own reading and writing of whole files is not used: it takes the numbers of the optimizer's state for
    those of all weights, frozen ones too, pops the weights that EMA's average is in, and forgets `weights_only`.
    Here a checkpoint is what one process or DDP would write, and each goes on from the others'.
    """

    def __init__(self) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False)

    @property
    def restore_checkpoint_after_setup(self) -> bool:
        return False

    @property
    def lightning_restore_optimizer(self) -> bool:
        return True

    def setup_environment(self) -> None:
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    def setup(self, trainer: Any) -> None:
        module = self.lightning_module
        if not is_overridden("configure_model", module):
            raise ValueError(
                f"trainer=sharded cuts the networks of stages 1 and 2, not those of {type(module).__name__}: "
                "use trainer=ddp"
            )
        super().setup(trainer)
        for optimizer in self.optimizers:
            if not type(optimizer).__module__.startswith("torch.optim"):
                raise ValueError(
                    f"optimizer ({type(optimizer).__name__}) must be one of torch.optim with trainer=sharded, whose "
                    "state lies in parts already"
                )

    def lightning_module_state_dict(self) -> dict[str, Any]:
        assert self.lightning_module is not None
        return {name: weight.cpu() for name, weight in whole(self.lightning_module.state_dict()).items()}

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        return whole(Strategy.optimizer_state(self, optimizer))

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        return Strategy.load_checkpoint(self, checkpoint_path, weights_only)

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        module = self.lightning_module
        assert module is not None
        own = module.state_dict()
        state = {name: part_of(full, own[name]) for name, full in checkpoint["state_dict"].items()}
        module.load_state_dict(state, strict=strict)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        cut = [
            _cut(saved, optimizer)
            for saved, optimizer in zip(checkpoint["optimizer_states"], self.optimizers, strict=True)
        ]
        Strategy.load_optimizer_state_dict(self, {"optimizer_states": cut})


def _cut(saved: Mapping[str, Any], optimizer: Optimizer) -> dict[str, Any]:
    """An optimizer's whole state, with this rank's part of what has the shape of a weight."""
    numbers = [number for group in saved["param_groups"] for number in group["params"]]
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    state = {
        number: {
            name: part_of(value, weight) if value.shape == weight.shape else value
            for name, value in saved["state"].get(number, {}).items()
        }
        for number, weight in zip(numbers, weights, strict=True)
    }
    return {**saved, "state": state}
