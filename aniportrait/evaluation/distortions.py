"""Known damage to a video, to see which metrics notice it.

Pixels and sound are damaged; the face is detected again on the damaged pixels by whoever can, never assumed.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from aniportrait.data.schema import SAMPLE_RATE
from aniportrait.evaluation.face_regions import mouth_boxes
from aniportrait.evaluation.video_pair import ScoredVideo
from aniportrait.face.topology import UPPER_FACE
from aniportrait.face.track import FaceTrack

Detect = Callable[[Tensor], FaceTrack]
"""Frames (f, 3, h, w) uint8 RGB -> the face detected on them, as long as they are."""

CHUNK = 2
SOFT_EDGE = 0.25
"""Of the mouth box's width: over what distance outside of it a frozen mouth fades into the face."""


def blurred(video: ScoredVideo, detect: Detect, sigma: float) -> ScoredVideo:
    """Every frame under a Gaussian of `sigma` pixels; edges are reflected. The sound is as it was."""
    if not sigma > 0:
        raise ValueError(f"sigma ({sigma:g}) must be above 0 pixels")
    reach = min(math.ceil(4 * sigma), min(video.frames.shape[-2:]) - 1)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma).square())
    kernel = (kernel / kernel.sum()).repeat(3, 1, 1)

    def blur(frames: Tensor, _: int) -> Tensor:
        padded = F.pad(frames.float(), (reach, reach, reach, reach), mode="reflect")
        return F.conv2d(F.conv2d(padded, kernel[:, :, None], groups=3), kernel[..., None], groups=3)

    return _with_frames(video, detect, blur)


def noisy(video: ScoredVideo, detect: Detect, deviation: float, generator: torch.Generator) -> ScoredVideo:
    """Every value of every frame off by its own normal draw of `deviation`, [0, 1] RGB. The sound is as it was."""
    if not deviation > 0:
        raise ValueError(f"deviation ({deviation:g}) must be above 0")

    def add_noise(frames: Tensor, _: int) -> Tensor:
        return frames.float() + 255 * deviation * torch.randn(frames.shape, generator=generator)

    return _with_frames(video, detect, add_noise)


def with_frozen_mouth(video: ScoredVideo, detect: Detect, frame: int = 0) -> ScoredVideo:
    """The mouth of one frame on the face of every frame; the head and all else move on, as does the sound.

    The frame's pixels follow the upper face (turned, scaled and moved in the picture) and cover the boxes around the
    mouth that they show and the one that they hide, with a soft edge. Frames without a face stay as they are.

    Raises:
        ValueError: `frame` shows no face.
    """
    if not video.track.valid[frame]:
        raise ValueError(f"frame {frame} must show a face for its mouth to be kept")
    height, width = video.frames.shape[-2:]
    points = torch.from_numpy(video.track.landmarks[..., :2]).double() * torch.tensor((width, height))
    kept, picture = points[frame], video.frames[frame].float()
    valid = torch.from_numpy(video.track.valid)[:, None, None, None]

    def freeze(frames: Tensor, first: int) -> Tensor:
        chosen = slice(first, first + len(frames))
        turn, shift = similarity(points[chosen][:, UPPER_FACE.tolist()], kept[UPPER_FACE.tolist()])
        shown = _as_points((_as_complex(kept)[None] - shift[:, None]) / turn[:, None])
        mask = _soft_box(points[chosen], shown, height, width) * valid[chosen]
        return torch.lerp(frames.float(), _moved(picture, turn, shift), mask.float())

    return _with_frames(video, detect, freeze)


def with_delayed_sound(video: ScoredVideo, seconds: float) -> ScoredVideo:
    """The sound later by `seconds`, earlier where they are negative: silence moves in, the end that moves out is
    lost. The pixels, and so the face, are as they were.

    Raises:
        ValueError: the video has no sound, or less of it than that.
    """
    if video.audio is None:
        raise ValueError("a video without sound has none to delay")
    shift = round(seconds * SAMPLE_RATE)
    if abs(shift) >= len(video.audio):
        raise ValueError(
            f"seconds ({seconds:g}) must be less than the sound's {len(video.audio) / SAMPLE_RATE:g}"
        )
    delayed = np.zeros_like(video.audio)
    delayed[max(0, shift) : len(delayed) + min(0, shift)] = video.audio[
        max(0, -shift) : len(delayed) - max(0, shift)
    ]
    return replace(video, audio=delayed)


def of_another_person(video: ScoredVideo, other: ScoredVideo) -> ScoredVideo:
    """Another clip, in sync with itself, cut to this one's length: its pixels, its face, its sound.

    Raises:
        ValueError: the other video is shorter, or of another size or rate.
    """
    if len(other) < len(video):
        raise ValueError(
            f"the other video's {len(other)} frames must not be fewer than the {len(video)} to replace"
        )
    if other.frames.shape[1:] != video.frames.shape[1:] or other.fps != video.fps:
        raise ValueError(
            f"the other video's frames {tuple(other.frames.shape[1:])} at {other.fps:g} fps must be as this one's "
            f"{tuple(video.frames.shape[1:])} at {video.fps:g} fps"
        )
    samples = round(len(video) / video.fps * SAMPLE_RATE)
    return ScoredVideo(
        frames=other.frames[: len(video)],
        track=other.track[: len(video)],
        audio=None if other.audio is None else other.audio[:samples],
        fps=other.fps,
    )


def similarity(points: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Least-squares turn, scale and shift of points in a plane, as complex numbers: turn z + shift is nearest.

    Args: points (f, n, 2); target (n, 2). Returns: turn, shift, (f,) complex each.
    """
    z, goal = _as_complex(points), _as_complex(target)[None]
    z_mean, goal_mean = z.mean(dim=1, keepdim=True), goal.mean(dim=1, keepdim=True)
    centred = z - z_mean
    turn = (centred.conj() * (goal - goal_mean)).sum(dim=1) / centred.abs().square().sum(dim=1)
    return turn, goal_mean[:, 0] - turn * z_mean[:, 0]


def _as_complex(points: Tensor) -> Tensor:
    return torch.view_as_complex(points.contiguous())


def _as_points(z: Tensor) -> Tensor:
    return torch.view_as_real(z)


def _soft_box(hidden: Tensor, shown: Tensor, height: int, width: int) -> Tensor:
    """(f, 478, 2) landmarks in pixels, twice -> (f, 1, h, w): 1 over both mouths' boxes, 0 away from them."""
    boxes = torch.stack((mouth_boxes(hidden), mouth_boxes(shown)))
    x0, y0, x1, y1 = (
        side[:, None, None]
        for side in (*boxes[..., :2].amin(dim=0).unbind(-1), *boxes[..., 2:].amax(dim=0).unbind(-1))
    )
    y, x = torch.arange(height)[:, None] + 0.5, torch.arange(width)[None] + 0.5
    away = torch.hypot(
        (x0 - x).clamp_min(0) + (x - x1).clamp_min(0), (y0 - y).clamp_min(0) + (y - y1).clamp_min(0)
    )
    return (1 - away / (SOFT_EDGE * (x1 - x0))).clamp_min(0)[:, None]


def _moved(picture: Tensor, turn: Tensor, shift: Tensor) -> Tensor:
    """(3, h, w) -> (f, 3, h, w): at each pixel z of each frame what the picture has at turn z + shift."""
    height, width = picture.shape[-2:]
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    places = turn[:, None, None] * torch.complex(x.double(), y.double()) + shift[:, None, None]
    grid = _as_points(places) * 2 / torch.tensor((width, height)) - 1
    every = picture.expand(len(turn), -1, -1, -1)
    return F.grid_sample(every, grid.float(), mode="bilinear", padding_mode="border", align_corners=False)


def _with_frames(video: ScoredVideo, detect: Detect, damage: Callable[[Tensor, int], Tensor]) -> ScoredVideo:
    """The video with every frame damaged, a few at a time, and the face detected again.

    Args: damage: frames (n, 3, h, w) uint8 and the number of the first -> floats in [0, 255].
    """
    chunks = [
        damage(video.frames[first : first + CHUNK], first).round().clamp(0, 255).to(torch.uint8)
        for first in range(0, len(video), CHUNK)
    ]
    frames = torch.cat(chunks)
    return replace(video, frames=frames, track=detect(frames))
