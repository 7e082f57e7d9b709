"""Whether the head moves with the rhythm of the voice."""

import torch
from torch import Tensor

from aniportrait.evaluation.per_clip import PerClipMetric
from aniportrait.models.audio_encoder import frame_features, normalised_log_mel


class BeatAlignment(PerClipMetric):
    """How near the beats of the head's motion lie to beats of the voice, 0 to 1 (AIST++, arXiv 2101.08779).

    A beat of the head is a frame where its rotation is slowest, a beat of the voice a peak of onset strength. Mean
    over the head's beats of exp(-d^2 / 2 s^2), d to the nearest beat of the voice. Compare with the true head's
    and with another clip's sound: beats that are dense score high by chance.

    Args:
        fps: of the poses.
        width_ms: s, milliseconds.
    """

    higher_is_better = True

    def __init__(self, fps: float = 25.0, width_ms: float = 60.0, **kwargs):
        super().__init__(**kwargs)
        self.width = width_ms / 1000 * fps

    def update(self, head_pose: Tensor, onsets: Tensor, valid: Tensor) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Args: head_pose (b, f, 6) degrees and cm; onsets (b, f), see `onset_strength`; valid (b, f) bool."""
        self.values.append(self._scores(head_pose.detach(), onsets, valid))

    def _scores(self, prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        scores = [self._score(*clip) for clip in zip(prediction, target, valid, strict=True)]
        return torch.stack(scores)

    def _score(self, head_pose: Tensor, onsets: Tensor, valid: Tensor) -> Tensor:
        speed = head_pose[:, :3].diff(dim=0, prepend=head_pose[:1, :3]).norm(dim=-1)
        head = (peaks(-speed) & valid).nonzero()[:, 0]
        voice = (peaks(onsets) & (onsets > onsets.mean())).nonzero()[:, 0]
        if not len(head) or not len(voice):
            return torch.tensor(torch.nan)
        apart = (head[:, None] - voice[None]).abs().amin(dim=1)
        return torch.exp(-(apart.float() ** 2) / (2 * self.width**2)).mean()


def onset_strength(audio: Tensor, frames: int) -> Tensor:
    """How much louder each video frame is than the one before, summed over mel bands: (b, n) -> (b, frames)."""
    mel = frame_features(normalised_log_mel(audio), frames, context=1)
    return mel.diff(dim=1, prepend=mel[:, :1]).clamp_min(0).sum(dim=-1)


def peaks(values: Tensor) -> Tensor:
    """(f,) -> (f,) bool: higher than the frame before, not lower than the one after; never the first or the last."""
    inside = (values[1:-1] > values[:-2]) & (values[1:-1] >= values[2:])
    return torch.nn.functional.pad(inside, (1, 1))[: len(values)]
