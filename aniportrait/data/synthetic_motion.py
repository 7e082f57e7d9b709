"""How an invented speaker's face and head move with what is said, and on their own."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from aniportrait.data.synthetic_expressions import EXPRESSIONS
from aniportrait.data.synthetic_phonemes import CONTROL_RATE
from aniportrait.data.synthetic_voice import Utterance
from aniportrait.face.head_pose import rigid_matrix

MOUTH_NOISE = {"jaw": 0.045, "spread": 0.10, "round": 0.04, "raise": 0.08, "drop": 0.08, "smile": 0.07}
"""Standard deviation of what the mouth does that the sound does not say, in full movements."""

HEAD_TURN = (26.0, 15.0, 14.0)
"""Degrees of yaw, pitch and roll that the head stays within."""

_NECK = np.array((0.0, -6.0, -5.0))
"""Where the head turns, cm in the face's frame."""


@dataclass(frozen=True)
class Performance:
    """One clip's motion.

    Args:
        expected: (f, 12) movements that follow from the sound alone, in EXPRESSIONS' order.
        movement: (f, 12) those plus noise, blinks and brows.
        gaze: (f, 2) cm that the irises move to the picture's right and up.
        head: (f, 4, 4) the face's frame -> that of a still head.
    """

    expected: np.ndarray
    movement: np.ndarray
    gaze: np.ndarray
    head: np.ndarray


def perform(utterance: Utterance, frames: int, fps: float, generator: np.random.Generator) -> Performance:
    """Move to an utterance: the mouth says it, head and brows stress it, the eyes do as they please."""
    at = (np.arange(frames) + 0.5) / fps * CONTROL_RATE - 0.5

    def sampled(signal: np.ndarray) -> np.ndarray:
        return np.interp(at, np.arange(len(signal)), signal)

    expected = _spoken(
        np.stack([sampled(signal) for signal in utterance.articulation.T]), sampled(utterance.stress)
    )
    movement = expected + _mouth_noise(frames, fps, generator)
    emphasis = gaussian_filter1d(sampled(utterance.pitch), 0.08 * fps, mode="nearest")
    blink = _blinks(frames, fps, generator)
    movement[:, _at("blink_right")] = blink
    movement[:, _at("blink_left")] = blink
    wander = _wander(frames, fps, 0.5, 2, generator)
    movement[:, _at("brow_inner")] += 0.9 * np.clip(emphasis, -0.2, 0.5) + 0.22 * wander[:, 0]
    movement[:, _at("brow_outer")] += 0.7 * np.clip(emphasis, -0.2, 0.5) + 0.20 * wander[:, 1]
    for name in ("spread", "round", "raise", "drop"):
        movement[:, _at(name)] = np.maximum(movement[:, _at(name)], -0.15)
    return Performance(expected, movement, _gaze(frames, fps, generator), _head(emphasis, fps, generator))


def _at(name: str) -> int:
    return EXPRESSIONS.index(name)


def _spoken(articulation: np.ndarray, stress: np.ndarray) -> np.ndarray:
    """The mouth's response to (6, f) articulators and (f,) stress. (f, 12)

    Not linear on purpose: the jaw saturates, an open jaw holds back the corners, lips meet and stay shut however
    much the jaw is open behind them.
    """
    jaw, wide, press, tuck, protrude, _ = articulation
    rounded, spread = np.clip(-wide, 0.0, None), np.clip(wide, 0.0, None)
    opening = np.clip(jaw, 0.0, None) * (0.15 + 0.95 * stress)
    shut = 1.0 / (1.0 + np.exp(-(press - 0.55) * 14.0))
    movement = np.zeros((articulation.shape[1], len(EXPRESSIONS)))
    movement[:, _at("jaw")] = (
        np.tanh(1.5 * opening) * (1 - 0.30 * rounded) * (1 - 0.45 * shut) * (1 - 0.5 * tuck)
    )
    movement[:, _at("spread")] = 0.95 * spread**1.2 * (1 - 0.45 * opening) * (1 - 0.4 * shut)
    movement[:, _at("round")] = np.clip(
        0.95 * rounded**1.3 * (1 - 0.35 * opening) + 0.55 * protrude, 0.0, 1.15
    )
    parted = 1.0 - shut
    movement[:, _at("raise")] = parted * (0.45 * spread * jaw + 0.30 * opening**2 + 0.40 * protrude)
    movement[:, _at("drop")] = parted * (0.40 * protrude + 0.35 * spread * (1 - opening) + 0.15 * opening)
    movement[:, _at("tuck")] = tuck * parted
    movement[:, _at("press")] = shut * movement[:, _at("jaw")]
    return movement


def _mouth_noise(frames: int, fps: float, generator: np.random.Generator) -> np.ndarray:
    """(f, 12) smooth noise, a fifth of a second long."""
    noise = np.zeros((frames, len(EXPRESSIONS)))
    names = list(MOUTH_NOISE)
    noise[:, [_at(name) for name in names]] = _wander(frames, fps, 0.10, len(names), generator) * [
        MOUTH_NOISE[name] for name in names
    ]
    return noise


def _wander(
    frames: int, fps: float, seconds: float, channels: int, generator: np.random.Generator
) -> np.ndarray:
    """(f, channels) smooth unit-variance noise with the given correlation time."""
    sigma = seconds * fps
    reach = int(np.ceil(4 * sigma))
    white = generator.standard_normal((frames + 2 * reach, channels))
    smooth = gaussian_filter1d(white, sigma, axis=0)[reach : reach + frames]
    return smooth * np.sqrt(2.0 * np.sqrt(np.pi) * sigma)


def _blinks(frames: int, fps: float, generator: np.random.Generator) -> np.ndarray:
    """(f,) 0 open to 1 shut: one blink every two to four seconds, a quarter of a second long."""
    time = np.arange(frames) / fps
    closed = np.zeros(frames)
    centre = generator.uniform(0.3, 2.0)
    while centre < frames / fps + 0.3:
        late = np.where(time < centre, 0.055, 0.085)  # lids fall faster than they rise
        closed = np.maximum(closed, np.exp(-0.5 * ((time - centre) / late) ** 4))
        centre += generator.uniform(1.6, 3.8)
    return closed


def _gaze(frames: int, fps: float, generator: np.random.Generator) -> np.ndarray:
    """(f, 2) cm: rests with quick jumps between them."""
    gaze = np.zeros((frames, 2))
    start = 0
    while start < frames:
        length = int(fps * generator.uniform(0.5, 1.8)) + 1
        gaze[start : start + length] = generator.normal(0.0, (0.16, 0.07)).clip(-0.3, 0.3)
        start += length
    return gaussian_filter1d(gaze, 0.02 * fps, axis=0, mode="nearest")


def _head(emphasis: np.ndarray, fps: float, generator: np.random.Generator) -> np.ndarray:
    """(f, 4, 4): slow turns, nods with the pitch accents, about the neck."""
    frames = len(emphasis)
    slow, quick = _wander(frames, fps, 0.55, 3, generator), _wander(frames, fps, 0.22, 3, generator)
    sway = _wander(frames, fps, 0.60, 3, generator)
    resting = generator.normal(0.0, (6.0, 3.0, 2.5))  # yaw, pitch, roll of this clip
    yaw, pitch, roll = (resting + slow * (15.0, 6.5, 7.0) + quick * (1.2, 1.0, 0.7)).T
    pitch = pitch - 9.0 * emphasis * generator.uniform(0.6, 1.2)
    roll = roll + 3.5 * emphasis * generator.uniform(-1.0, 1.0)
    limited = [
        limit * np.tanh(angle / limit) for angle, limit in zip((yaw, pitch, roll), HEAD_TURN, strict=True)
    ]
    turn = rigid_matrix(np.stack([limited[1], limited[0], limited[2], *(np.zeros((3, frames)))], axis=1))
    move = np.tile(np.eye(4), (frames, 1, 1))
    move[:, :3, 3] = _NECK + sway * (1.30, 0.90, 1.00) + generator.normal(0.0, (0.7, 0.5, 0.0))
    back = np.eye(4)
    back[:3, 3] = -_NECK
    return move @ turn @ back
