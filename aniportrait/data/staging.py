"""What became of each clip, in one file a clip, until the shards are put together: the memory of a preparation
that may be killed at any time."""

import json
import os
import socket
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from aniportrait.data.piece import Piece
from aniportrait.data.sample_codec import encode_sample

OUTCOME = "outcome.json"
THUMBNAIL = "thumbnail.jpg"


@dataclass(frozen=True)
class Outcome:
    """What became of one stretch of a clip; see Piece. `members` says whether a sample is staged with it."""

    begin: float
    seconds: float
    reason: str | None
    notes: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def kept(self) -> bool:
        return self.reason is None


def stage(staged: Path, pieces: Sequence[Piece]) -> None:
    """Write the pieces of one clip; the file appears whole or not at all."""
    outcomes = [asdict(Outcome(p.begin, p.seconds, p.reason, p.notes, p.figures)) for p in pieces]
    partial = staged.with_name(f".{staged.name}.{socket.gethostname()}.{os.getpid()}.partial")
    with partial.open("wb") as stream:
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr(OUTCOME, json.dumps(outcomes))
            for number, piece in enumerate(pieces):
                if piece.thumbnail is not None:
                    archive.writestr(f"{number}/{THUMBNAIL}", piece.thumbnail)
                if piece.sample is not None:
                    for extension, data in encode_sample(piece.sample).items():
                        archive.writestr(f"{number}/{extension}", data)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(partial, staged)


def outcomes(staged: Path) -> list[Outcome] | None:
    """Those of a clip that was staged, in order of time; None if it was not, or not wholly."""
    try:
        with zipfile.ZipFile(staged) as archive:
            return [Outcome(**entry) for entry in json.loads(archive.read(OUTCOME))]
    except (FileNotFoundError, zipfile.BadZipFile, KeyError, TypeError, json.JSONDecodeError):
        return None


def members(staged: Path, number: int) -> dict[str, bytes]:
    """Extension -> bytes of a kept piece's sample."""
    with zipfile.ZipFile(staged) as archive:
        named = ((name.partition("/"), name) for name in archive.namelist())
        return {
            rest: archive.read(name)
            for (folder, _, rest), name in named
            if folder == str(number) and rest != THUMBNAIL
        }


def thumbnail(staged: Path, number: int) -> bytes | None:
    """The small JPEG of a piece, if it has one."""
    try:
        with zipfile.ZipFile(staged) as archive:
            return archive.read(f"{number}/{THUMBNAIL}")
    except (FileNotFoundError, zipfile.BadZipFile, KeyError):
        return None
