"""Timestamped frames -> frames at a constant rate, and what was lost on the way."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

LONGEST_HOLD = 10.0
"""Seconds one frame may stand; a longer gap between timestamps is damage, not a slow film."""

Frame = TypeVar("Frame")


@dataclass
class MediaReport:
    """What went wrong while a file was read: filled in by `read_video`, complete when its frames are used up.

    Args:
        decoded: source frames that could be decoded.
        damaged: packets or frames that could not.
        missing: frames the file announces and does not hold.
    """

    decoded: int = 0
    damaged: int = 0
    missing: int = 0
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [f"{self.decoded} frames decoded", f"{self.damaged} damaged", f"{self.missing} missing"]
        return ", ".join(parts + self.notes)

    @property
    def whole(self) -> bool:
        return not (self.damaged or self.missing or self.notes)


def at_constant_rate(
    stamped: Iterable[tuple[float, Frame]],
    fps: float,
    step: float,
    report: MediaReport,
    begin: float = 0.0,
    end: float = math.inf,
) -> Iterator[Frame]:
    """Frame k is the one whose time is nearest to begin + k / fps; the last stands as long as those before it.

    Args:
        stamped: (seconds after the film's first frame, frame), in order.
        fps: of the result.
        step: seconds between frames of the film, on average.
        report: told of a gap that ends the film.
        begin, end: see `read_stills`.
    """
    held: Frame | None = None
    held_time, emitted = 0.0, 0
    lasts = step  # how long the held frame is shown, should it be the last
    count = math.inf if math.isinf(end) else max(1, round((end - begin) * fps))
    for time, frame in stamped:
        if held is not None:
            if time - held_time > LONGEST_HOLD:
                report.notes.append(
                    f"cut at {held_time:.2f} s: the next frame comes {time - held_time:.0f} s on"
                )
                break
            turn = (held_time + time) / 2  # until here the held frame is the nearer one
            while emitted < count and begin + emitted / fps < turn:
                yield held
                emitted += 1
            if emitted >= count:
                return
            lasts = min(step, time - held_time) if time > held_time else lasts
        held, held_time = frame, max(time, held_time)
    if held is not None:
        total = min(count, round((held_time + lasts - begin) * fps))
        for _ in range(emitted, int(max(total, 1 if begin == 0 else 0))):
            yield held
