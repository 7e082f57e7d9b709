"""How many operations a device could do in a second: what a training's rate is compared with."""

import time

import torch
from lightning.fabric.utilities.throughput import get_available_flops

SIDE = {"cpu": 1024, "cuda": 8192}
"""Of the matrices that are multiplied where nobody says what a device can do: a GPU needs large ones to be busy."""


def peak_rate(device: torch.device, dtype: torch.dtype) -> tuple[str, float]:
    """Operations per second, and the name of a training's share of them.

    `mfu` for GPUs whose dense peak Lightning knows; `of_matrix_rate` elsewhere, on CPUs always: the rate of a product
    of two square matrices, with the process's threads, measured now, so it is lower on a busy machine.
    """
    known = get_available_flops(device, dtype)
    return ("mfu", float(known)) if known else ("of_matrix_rate", _matrix_rate(device, dtype))


def compute_dtype(precision: str) -> torch.dtype:
    """What matrix products are computed in under a Trainer's `precision`, such as "bf16-mixed"."""
    numbers = precision.split("-")[0]
    return {"bf16": torch.bfloat16, "16": torch.float16, "64": torch.float64}.get(numbers, torch.float32)


def _matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    side = SIDE.get(device.type, SIDE["cpu"])
    first = torch.ones(side, side, device=device, dtype=dtype)  # not drawn: the run's random numbers stay
    spent = []
    for _ in range(4):  # the first warms up
        began = time.perf_counter()
        product = first @ first
        product[0, 0].item()  # waits for the device
        spent.append(time.perf_counter() - began)
    return 2 * side**3 / min(spent)
