"""What a clip must offer to be kept; each gate raises with its reason and figures."""

from dataclasses import dataclass

import numpy as np


class DroppedClipError(ValueError):
    """A clip that a gate keeps out; the message is the reason, with figures."""


@dataclass(frozen=True)
class Gates:
    """Thresholds of the gates. None, where it is allowed, opens a gate for good.

    Args:
        min_seconds: length.
        min_face_height: chin to forehead in the source, pixels, median over the clip.
        min_detection_rate: share of the frames in which the face must be found.
        longest_gap: seconds the face may be away at a time; shorter gaps are interpolated and marked.
        max_yaw: degrees to either side that the head stays within in 95 % of the frames.
        min_sharpness: see `sharpness`. Of 55 clips the softest, an enlarged one, has 0.11, the others 0.16 or
            more; blurred by a Gaussian of 2 pixels at 256 they have 0.05 to 0.15.
        largest_other_face: height of a second person's face, in parts of the first's, that may be in view in a
            tenth of the clip or more. None always takes the largest face.
        min_sound: share of the time with audible sound. At 0 clips without sound are kept; they serve the
            stages that need none.
        tolerated_offset: seconds between sound and lips that are left as they are.
        longest_shift: seconds by which sound may be shifted to meet the lips; a clip whose sound is clearly
            further off is dropped. At 0 every clear offset beyond the tolerated one is.
        sync_confidence: from which on a measured offset is believed; see SyncMeasurement. Below it nothing is
            shifted or dropped.
        min_agreement: of sound and lips; see SyncMeasurement. None keeps also what shows no agreement, as
            short clips and still mouths do.
    """

    min_seconds: float = 0.5
    min_face_height: float = 64.0
    min_detection_rate: float = 0.8
    longest_gap: float = 1.0
    max_yaw: float | None = 60.0
    min_sharpness: float = 0.1
    largest_other_face: float | None = None
    min_sound: float = 0.0
    tolerated_offset: float = 0.16
    longest_shift: float = 0.4
    sync_confidence: float = 5.0
    min_agreement: float | None = None

    def __post_init__(self) -> None:
        for name in ("min_detection_rate", "min_sound"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"gates.{name} ({getattr(self, name)}) must be 0 to 1")
        for name in (
            "min_seconds",
            "min_face_height",
            "longest_gap",
            "min_sharpness",
            "tolerated_offset",
            "longest_shift",
            "sync_confidence",
            "max_yaw",
            "largest_other_face",
        ):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"gates.{name} ({value}) must not be negative")

    def check_length(self, frames: int, fps: float) -> None:
        if frames / fps < self.min_seconds:
            raise DroppedClipError(
                f"{frames} frame{'s' * (frames != 1)} ({frames / fps:.2f} s), "
                f"at least {self.min_seconds:g} s are needed"
            )

    def check_glances(self, seen: int, glances: int) -> None:
        """Half of the frames looked at suffice to go on: a face is found more easily once it is cut out."""
        if seen == 0:
            raise DroppedClipError("no face is seen in any of the frames looked at")
        self._check_rate(seen, glances, self.min_detection_rate / 2, "frames looked at")

    def check_face_height(self, height: float) -> None:
        if height < self.min_face_height:
            needed = f"at least {self.min_face_height:g} are needed"
            raise DroppedClipError(f"the face is {height:.0f} pixels high (median), {needed}")

    def check_other_face(self, height: float, share: float) -> None:
        if self.largest_other_face is not None and share >= 0.1 and height > self.largest_other_face:
            raise DroppedClipError(
                f"another face of {height:.2f} times the height is seen in {100 * share:.0f} % of the frames "
                f"looked at, at most {self.largest_other_face:g} is allowed"
            )

    def check_detection(self, valid: np.ndarray, fps: float) -> None:
        self._check_rate(int(valid.sum()), len(valid), self.min_detection_rate, "frames")
        if (gap := longest_run(~valid) / fps) > self.longest_gap:
            raise DroppedClipError(
                f"the face is away for {gap:.2f} s at a time, at most {self.longest_gap:g} s are allowed"
            )

    def check_yaw(self, yaw: float) -> None:
        if self.max_yaw is not None and yaw > self.max_yaw:
            raise DroppedClipError(
                f"the head turns by {yaw:.0f} degrees (95 % of the frames stay within), "
                f"at most {self.max_yaw:g} are allowed"
            )

    def check_sharpness(self, sharpness: float) -> None:
        if sharpness < self.min_sharpness:
            needed = f"at least {self.min_sharpness:g} is needed"
            raise DroppedClipError(f"the face is blurred: sharpness {sharpness:.3f}, {needed}")

    def check_sound(self, share: float) -> None:
        if share < self.min_sound:
            raise DroppedClipError(
                f"sound is audible in {100 * share:.0f} % of the time, "
                f"at least {100 * self.min_sound:.0f} % are needed"
            )

    def check_agreement(self, agreement: float) -> None:
        if self.min_agreement is not None and agreement < self.min_agreement:
            raise DroppedClipError(
                f"sound and lips agree by {agreement:.2f}, at least {self.min_agreement:g} is needed"
            )

    def shift(self, lag: float, confidence: float) -> float:
        """Seconds by which to shift the sound back: 0.0 for an offset that is tolerated or not certain."""
        if confidence < self.sync_confidence or abs(lag) <= self.tolerated_offset:
            return 0.0
        if abs(lag) > self.longest_shift:
            raise DroppedClipError(
                f"the sound is {abs(lag):.2f} s {'late' if lag > 0 else 'early'} (confidence {confidence:.1f}), "
                f"at most {self.longest_shift:g} s are shifted"
            )
        return lag

    def _check_rate(self, seen: int, count: int, least: float, of_what: str) -> None:
        if seen < least * count:
            found = f"the face is found in {100 * seen / count:.0f} % of {count} {of_what}"
            raise DroppedClipError(f"{found}, at least {100 * least:.0f} % are needed")


def longest_run(marked: np.ndarray) -> int:
    """Length of the longest stretch of marked frames, (f,) bool."""
    edges = np.flatnonzero(np.diff(np.concatenate(((0,), marked.astype(np.int8), (0,)))))
    return int((edges[1::2] - edges[::2]).max()) if len(edges) else 0
