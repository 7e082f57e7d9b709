"""What became of a clip, or of one stretch of it."""

from dataclasses import dataclass, field

from aniportrait.data.schema import ClipSample


@dataclass
class Piece:
    """What became of a clip, or of one stretch of it.

    Args:
        begin, seconds: where it lies in the source clip.
        figures: whatever was measured, also of a dropped one.
        notes: what had to be mended.
        reason: why it was dropped; None for a kept one.
        sample: its key, identity and split are for the caller to set.
        thumbnail: a small JPEG, where there is a picture.
    """

    begin: float = 0.0
    seconds: float = 0.0
    figures: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    reason: str | None = None
    sample: ClipSample | None = None
    thumbnail: bytes | None = None
