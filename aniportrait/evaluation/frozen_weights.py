"""Weights of the networks that judge, loaded strictly."""

from pathlib import Path
from typing import TypeVar

from torch import nn

from aniportrait.checkpoints.tensor_files import WeightsError, read_tensors

Network = TypeVar("Network", bound=nn.Module)


def frozen(network: Network, file: Path) -> Network:
    """The network with the file's weights, ready to judge; WeightsError unless every key and shape is the network's.

    Counters of batch norms don't count: the published files of one network come with and without them.
    """
    found = {key: value for key, value in read_tensors(file).items() if not _is_counter(key)}
    wanted = {key: value for key, value in network.state_dict().items() if not _is_counter(key)}
    wrong = [
        *(f"{key} is missing" for key in wanted.keys() - found.keys()),
        *(f"{key} is unknown" for key in found.keys() - wanted.keys()),
        *(
            f"{key} is {tuple(found[key].shape)} and not {tuple(wanted[key].shape)}"
            for key in wanted.keys() & found.keys()
            if found[key].shape != wanted[key].shape
        ),
    ]
    if wrong:
        raise WeightsError(
            f"{file} does not hold the weights of {type(network).__name__}: {min(wrong)}"
            f"{f', and {len(wrong) - 1} more' if len(wrong) > 1 else ''}"
        )
    network.load_state_dict(found, strict=False)  # counters stay as they are
    return network.eval().requires_grad_(False)


def _is_counter(key: str) -> bool:
    return key.endswith(".num_batches_tracked")
