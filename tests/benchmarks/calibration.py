"""A fixed amount of work, to compare figures across machines and hours: CPU seconds of one thread of torch.

    python tests/benchmarks/calibration.py

10 products of two 1024x1024 matrices, 10 convolutions 3x3 of (4, 128, 32, 32) with 128 filters, 4
scaled_dot_product_attention of (4, 8, 1024, 32) with itself, in float32. Median of 5 after a warm-up. A cost divided by
this is stated as C.
"""

import statistics
import time

import torch
from torch.nn import functional


def calibrate(repeats: int = 5) -> float:
    """CPU seconds of the fixed work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 1024, 1024, generator=generator)
    picture = torch.randn(4, 128, 32, 32, generator=generator)
    filters = torch.randn(128, 128, 3, 3, generator=generator)
    tokens = torch.randn(4, 8, 1024, 32, generator=generator)
    spent = []
    with torch.no_grad():
        for _ in range(repeats + 1):
            begin = time.process_time()
            for _ in range(10):
                first @ second
            for _ in range(10):
                functional.conv2d(picture, filters, padding=1)
            for _ in range(4):
                functional.scaled_dot_product_attention(tokens, tokens, tokens)
            spent.append(time.process_time() - begin)
    torch.set_num_threads(threads)
    return statistics.median(spent[1:])


if __name__ == "__main__":
    print(f"calibration: {calibrate():.3f} CPU s")
