"""Where clips come from: what a source lists, and the split each clip belongs to."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")
SPLITS = ("train", "val", "test")


class SourceError(ValueError):
    """A source that names clips it does not have, or none at all."""


@dataclass(frozen=True)
class FaceBox:
    """Where the face is, in pixels of a picture of the stated size.

    Args:
        x0, y0, x1, y1: left, top, right, bottom.
        height: of the picture in which the box was drawn; 1.0 for boxes in shares of the picture.
        width: likewise; None where only the height is known: both axes are scaled alike.
    """

    x0: float
    y0: float
    x1: float
    y1: float
    height: float
    width: float | None = None

    def __post_init__(self) -> None:
        if not (self.x0 < self.x1 and self.y0 < self.y1):
            raise ValueError(f"box {self.x0:g} {self.y0:g} {self.x1:g} {self.y1:g} must span some area")
        if self.height <= 0 or (self.width is not None and self.width <= 0):
            raise ValueError(f"a box's picture must have a size, not {self.width} x {self.height}")

    def in_picture(self, width: int, height: int) -> tuple[float, float, float, float]:
        """The same box in pixels of a picture of another size."""
        down = height / self.height
        across = down if self.width is None else width / self.width
        return self.x0 * across, self.y0 * down, self.x1 * across, self.y1 * down


@dataclass(frozen=True)
class SourceClip:
    """One clip to prepare.

    Args:
        path: the video file or the folder of frames; one that does not exist is reported as missing.
        identity: the person it shows.
        split: "train", "val" or "test"; None lets `with_splits` choose.
        name: what the clip is called; the file's stem when left out.
        video: the recording it is cut from; clips of one recording share a split. The file when left out.
        begin, end: seconds of the file; None is its end.
        box: where the face is, if the source says so.
        frame_rate: of a folder of frames.
    """

    path: Path
    identity: str
    split: str | None = None
    name: str | None = None
    video: str | None = None
    begin: float = 0.0
    end: float | None = None
    box: FaceBox | None = None
    frame_rate: float | None = None

    def __post_init__(self) -> None:
        if self.begin < 0 or (self.end is not None and self.end <= self.begin):
            raise ValueError(f"clip {self.title}: {self.begin:g} to {self.end} s is no section of a film")

    @property
    def title(self) -> str:
        return self.name or self.path.stem

    @property
    def recording(self) -> str:
        return self.video or self.path.name


class Source(Protocol):
    """Lists clips, each with its split."""

    def clips(self) -> list[SourceClip]: ...


def with_splits(clips: Sequence[SourceClip]) -> list[SourceClip]:
    """Clips whose split is not known get one, so that no person and no recording is in two splits.

    Clips that share a person or a recording, also by way of a third clip, form a group. Groups that already
    have a split keep it. The others are ordered by a hash of their name and shared out, about 80 / 10 / 10 %
    to train / val / test; with three or more to share out, each split gets at least one. With fewer, train
    comes first, then val. A group in two splits is an error.
    """
    groups = _groups(clips)
    known: dict[str, SourceClip] = {}
    for clip, group in zip(clips, groups, strict=True):
        if clip.split is None:
            continue
        other = known.setdefault(group, clip)
        if other.split != clip.split:
            raise SourceError(_in_two_splits(other, clip))
    splits = {group: str(clip.split) for group, clip in known.items()}
    unknown = sorted(set(groups) - set(known), key=_hash)
    held_out = max(1, round(len(unknown) / 10))
    for rank, group in enumerate(unknown):
        if len(unknown) < 3:
            splits[group] = SPLITS[rank]
        else:
            splits[group] = "val" if rank < held_out else "test" if rank < 2 * held_out else "train"
    return [replace(clip, split=splits[group]) for clip, group in zip(clips, groups, strict=True)]


def found_video(folders: Iterable[Path | None], stems: Sequence[str]) -> Path | None:
    """The first video file called one of `stems`, whatever its suffix."""
    for folder in folders:
        for stem in stems:
            for suffix in VIDEO_SUFFIXES:
                if folder is not None and (file := folder / f"{stem}{suffix}").is_file():
                    return file
    return None


def existing_folder(path: str | Path | None) -> Path | None:
    """A folder that a setting names, or None for a setting left empty."""
    if path is None:
        return None
    folder = Path(path)
    if not folder.exists():
        raise FileNotFoundError(f"folder {folder} does not exist")
    if not folder.is_dir():
        raise SourceError(f"{folder} is not a folder")
    return folder


def _groups(clips: Sequence[SourceClip]) -> list[str]:
    """For each clip the name of its group: the least identity in it."""
    leader: dict[tuple[str, str], tuple[str, str]] = {}

    def lead(node: tuple[str, str]) -> tuple[str, str]:
        while (above := leader.setdefault(node, node)) != node:
            leader[node] = leader[above]
            node = above
        return node

    for clip in clips:
        first, second = sorted((lead(("person", clip.identity)), lead(("recording", clip.recording))))
        leader[second] = first  # persons sort before recordings
    return [lead(("person", clip.identity))[1] for clip in clips]


def _in_two_splits(first: SourceClip, second: SourceClip) -> str:
    what = f"identity {first.identity}"
    if first.identity != second.identity:
        what = f"{first.title} (identity {first.identity}, recording {first.recording}) and {second.title} "
        what += f"(identity {second.identity}, recording {second.recording}) belong together and one"
    return f"{what} is in two splits, {first.split} and {second.split}"


def _hash(identity: str) -> str:
    # a name of a file need not be UTF-8
    return hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()
