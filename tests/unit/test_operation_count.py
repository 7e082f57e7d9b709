"""Operations are those that torch counts, and counting them leaves every bit as it was."""

import torch
from tiny_unets import denoiser, inputs, reference
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from aniportrait.training.operation_count import OperationCount


def test_a_layer_forward_and_backward_is_three_products_of_its_size():
    layer, given = nn.Linear(64, 32), torch.randn(8, 64, requires_grad=True)
    with OperationCount() as count:
        layer(given).sum().backward()
    assert count.total == 3 * 2 * 8 * 64 * 32


def test_a_denoiser_has_the_operations_of_torchs_counter_and_the_gradients_of_nobody_watching():
    gradients, counts = [], []
    for counter in (None, OperationCount(), FlopCounterMode(display=False)):
        network, given, features = denoiser(), inputs(), reference()
        if counter is not None:
            counter.__enter__()
        network(**given, reference_features=features).square().mean().backward()
        if counter is not None:
            counter.__exit__(None, None, None)
            counts.append(getattr(counter, "total", None) or counter.get_total_flops())
        gradients.append([weight.grad for weight in network.parameters() if weight.grad is not None])
    assert counts[0] == counts[1] > 0
    assert all(torch.equal(one, other) for one, other in zip(gradients[0], gradients[1], strict=True))
