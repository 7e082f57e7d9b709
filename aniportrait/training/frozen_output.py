"""Signs of a denoiser that says the same whatever it is asked, as shares of what the truth does."""

from torch import Tensor


def contrast(samples: Tensor, truth: Tensor) -> float:
    """Mean standard deviation over the pixels of each channel, divided by the truth's: 0 for flat samples.

    Args:
        samples: latents (b, f, c, h, w); truth likewise.
    """
    return _share(samples.std(dim=(-2, -1)), truth.std(dim=(-2, -1)))


def difference(samples: Tensor, truth: Tensor) -> float:
    """Mean absolute difference of each clip from the next, divided by the truth's: 0 where all clips give the same.

    Args: as of `contrast`; of one clip it would be 0 / 0, a ValueError.
    """
    if len(samples) < 2:
        raise ValueError(f"clips ({len(samples)}) must be at least 2 for them to differ")
    return _share((samples - samples.roll(-1, 0)).abs(), (truth - truth.roll(-1, 0)).abs())


def change(samples: Tensor, before: Tensor, truth: Tensor) -> float:
    """Mean absolute difference from samples of earlier weights, divided by the truth's deviation over pixels."""
    return _share((samples - before).abs(), truth.std(dim=(-2, -1)))


def _share(ours: Tensor, truths: Tensor) -> float:
    return float(ours.float().mean() / truths.float().mean().clamp_min(1e-12))
