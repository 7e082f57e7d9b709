"""What happens to a clip between shard and batch: pure functions; randomness enters as a generator."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from aniportrait.data.schema import SAMPLE_RATE


def random_window(
    valid: np.ndarray, count: int, strides: Sequence[int], generator: np.random.Generator
) -> np.ndarray:
    """Frame numbers of a random window, every frame valid where the clip has such a window.

    A stride that the clip is too short for is replaced by the longest one that fits.

    Args:
        valid: (f,) bool, f >= count.
        count: frames of the window.
        strides: steps between frames to choose from, with equal chance.
    """
    _check_length(len(valid), count)
    stride = int(generator.choice(np.asarray(strides)))
    if count > 1:
        stride = min(stride, (len(valid) - 1) // (count - 1))
    offsets = stride * np.arange(count)
    starts = np.arange(len(valid) - offsets[-1])
    good = starts[valid[starts[:, None] + offsets].all(axis=1)]
    return int(generator.choice(good if len(good) else starts)) + offsets


def middle_window(valid: np.ndarray, count: int) -> np.ndarray:
    """The window of consecutive frames nearest to the clip's middle, every frame valid where there is one."""
    _check_length(len(valid), count)
    starts = np.arange(len(valid) - count + 1)
    offsets = np.arange(count)
    good = starts[valid[starts[:, None] + offsets].all(axis=1)]
    candidates = good if len(good) else starts
    return int(candidates[np.argmin(np.abs(candidates - (len(valid) - count) / 2))]) + offsets


def recoloured(pictures: np.ndarray, strength: float, generator: np.random.Generator) -> np.ndarray:
    """The same change of colours for all pictures of an item, portrait included: what a face looks like can then
    be known from its portrait alone, not from having seen the person before.

    Args:
        pictures: (n, h, w, 3) uint8.
        strength: 0 changes nothing; at 1 the colour channels change places, each is scaled by 0.6 to 1.2 and shifted
            by up to 0.15 of the full range; in between, places change with this probability.
    """
    if strength == 0:
        return pictures
    places = generator.permutation(3) if generator.random() < strength else np.arange(3)
    scale = 1 + strength * generator.uniform(-0.4, 0.2, 3)
    shift = 255 * strength * generator.uniform(-0.15, 0.15, 3)
    # A lookup per channel: 256 values are cheaper to change than every pixel. Contrast scales about mid-grey.
    table = np.clip((np.arange(256)[:, None] - 127.5) * scale + 127.5 + shift, 0, 255).astype(np.uint8)
    moves = [number for channel, place in enumerate(places.tolist()) for number in (place, channel)]
    result = np.empty_like(pictures)
    for picture, target in zip(pictures, result, strict=True):
        cv2.mixChannels([picture], [target], moves)
        cv2.LUT(target, table[None], dst=target)
    return result


def random_reference(valid: np.ndarray, frames: np.ndarray, gap: int, generator: np.random.Generator) -> int:
    """A valid frame at least `gap` frames away from every one of `frames`; the farthest if there is none."""
    candidates = np.flatnonzero(valid) if valid.any() else np.arange(len(valid))
    distance = np.abs(candidates[:, None] - frames[None]).min(axis=1)
    far = candidates[distance >= gap]
    return int(generator.choice(far)) if len(far) else int(candidates[np.argmax(distance)])


def fixed_reference(valid: np.ndarray, frames: np.ndarray) -> int:
    """The valid frame farthest from `frames`, the earliest of several."""
    candidates = np.flatnonzero(valid) if valid.any() else np.arange(len(valid))
    return int(candidates[np.argmax(np.abs(candidates[:, None] - frames[None]).min(axis=1))])


def padded(array: np.ndarray, start: int, count: int) -> np.ndarray:
    """`count` entries from `start` on, the last one repeated beyond the end."""
    return array[np.minimum(np.arange(start, start + count), len(array) - 1)]


def audio_window(audio: np.ndarray, start: int, count: int, fps: float) -> np.ndarray:
    """The sound of `count` frames from frame `start` on, zeros beyond its end: (round(count / fps *
    16000),)."""
    begin, length = round(start / fps * SAMPLE_RATE), round(count / fps * SAMPLE_RATE)
    part = audio[begin : begin + length]
    return np.pad(part, (0, length - len(part)))


def box_around(landmarks: np.ndarray) -> np.ndarray:
    """(f, n, 2 or 3) normalised landmarks -> (f, 4) float32 x0, y0, x1, y1 in [0, 1] around them."""
    points = np.clip(landmarks[..., :2], 0, 1).astype(np.float32)
    return np.concatenate((points.min(axis=1), points.max(axis=1)), axis=1)


def resized(frames: np.ndarray, size: int) -> np.ndarray:
    """(f, h, w, 3) uint8 -> (f, size, size, 3), averaged when it shrinks, cubic when it grows."""
    if frames.shape[1:3] == (size, size):
        return frames
    method = cv2.INTER_AREA if size < frames.shape[1] else cv2.INTER_CUBIC
    result = np.empty((len(frames), size, size, 3), np.uint8)
    for frame, target in zip(frames, result, strict=True):
        cv2.resize(frame, (size, size), dst=target, interpolation=method)
    return result


def signed_unit(pixels: Tensor) -> Tensor:
    """uint8 of any shape -> float32 in [-1, 1], on the same device."""
    return pixels.to(torch.float32, memory_format=torch.contiguous_format).div_(127.5).sub_(1.0)


def _check_length(length: int, count: int) -> None:
    if not 1 <= count <= length:
        raise ValueError(f"a window of {count} frames does not fit into a clip of {length}")
