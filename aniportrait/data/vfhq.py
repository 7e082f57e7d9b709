"""VFHQ: one meta file per clip, and beside them folders of PNG frames, cut clips, or the whole videos.

The set: https://liangbinxie.github.io/projects/vfhq
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path

from aniportrait.data.sources import (
    FaceBox,
    SourceClip,
    SourceError,
    existing_folder,
    found_video,
    with_splits,
)

NAME = re.compile(
    r"Clip\+(?P<video>[^+]+)\+P(?P<person>\d+)\+C(?P<clip>\d+)(\+F(?P<first>\d+)-(?P<last>\d+))?"
)


@dataclass(frozen=True)
class VFHQMeta:
    """What the meta file of one clip says.

    Args:
        name: of the file, Clip+{video}+P{person}+C{clip}+F{first}-{last}.
        video: YouTube id; may contain - and _.
        person, clip: numbers within the video.
        begin, end: seconds of the video. The frames used are first + 1 to last - 1.
        fps: of the annotated video, often fractional.
        box: of the face, in pixels of the annotated video.
    """

    name: str
    video: str
    person: int
    clip: int
    begin: float
    end: float
    fps: float
    box: FaceBox

    @staticmethod
    def read(path: Path) -> "VFHQMeta":
        match = NAME.fullmatch(path.stem)
        if match is None or match["first"] is None:
            raise SourceError(
                f"{path.name} is not called Clip+ID+P..+C..+F..-...txt, as VFHQ's meta files are"
            )
        entries = _entries(path)
        fps = _numbers(path, entries, "FPS", 1)[0]
        (height,), (width,) = _numbers(path, entries, "H", 1), _numbers(path, entries, "W", 1)
        corners = _numbers(path, entries, "CROP", 4)
        first, last = int(match["first"]), int(match["last"])
        if not (math.isfinite(fps) and fps > 0):
            raise SourceError(f"{path}: FPS {fps:g} must be positive")
        if last - first < 2:
            raise SourceError(f"{path.name}: frames {first} to {last} leave none in between")
        try:
            box = FaceBox(corners[0], corners[1], corners[2], corners[3], height, width)
        except ValueError as error:
            raise SourceError(f"{path}: {error}") from error
        return VFHQMeta(
            path.stem,
            match["video"],
            int(match["person"]),
            int(match["clip"]),
            (first + 1) / fps,
            last / fps,
            fps,
            box,
        )


class VFHQSource:
    """The clips of VFHQ that are on this machine.

    Args:
        meta: folder of the meta files, Clip+....txt.
        clips: folder of the clips as released, each a folder of PNG frames called as its meta file (or
            without its +F part), or a video file called so. They are cut out already and have no box.
        videos: folder of the YouTube videos, each called by its id. Only these have sound.
            A clip that is in both is taken from the video.
    """

    def __init__(self, meta: str | Path, clips: str | Path | None = None, videos: str | Path | None = None):
        self.meta, self.clip_folder, self.video_folder = meta, clips, videos

    def clips(self) -> list[SourceClip]:
        folder, clips, videos = (
            existing_folder(path) for path in (self.meta, self.clip_folder, self.video_folder)
        )
        if clips is None and videos is None:
            raise SourceError("source=vfhq needs source.clips (PNG folders or cut clips) or source.videos")
        files = sorted(folder.glob("*.txt")) if folder else []
        if not files:
            raise SourceError(f"{folder} holds no meta file (Clip+....txt)")
        found = [self._clip(VFHQMeta.read(file), clips, videos) for file in files]
        if not any(clip.path.exists() for clip in found):
            raise SourceError(f"none of {len(found)} clips of {folder} is in {videos or clips}")
        return with_splits(found)

    def _clip(self, meta: VFHQMeta, clips: Path | None, videos: Path | None) -> SourceClip:
        identity = f"{meta.video}+P{meta.person}"
        whole = found_video((videos,), (meta.video,))
        if whole is not None:
            return SourceClip(whole, identity, None, meta.name, meta.video, meta.begin, meta.end, meta.box)
        cut, frames = _cut(meta, clips), meta.fps
        if cut is None:
            cut = (videos or clips or Path()) / (f"{meta.video}.mp4" if videos else meta.name)
        return SourceClip(cut, identity, None, meta.name, meta.video, frame_rate=frames)


def _cut(meta: VFHQMeta, folder: Path | None) -> Path | None:
    if folder is None:
        return None
    stems = (meta.name, meta.name.rpartition("+F")[0])
    for stem in stems:
        if (folder / stem).is_dir():
            return folder / stem
    return found_video((folder,), stems)


def _entries(path: Path) -> dict[str, list[str]]:
    """First word of a line -> the words after it. The word is compared whole: other lines begin with H and W."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is not a text file ({error})") from error
    words = [line.replace(":", " ").split() for line in lines]
    return {line[0].upper(): line[1:] for line in words if line}


def _numbers(path: Path, entries: dict[str, list[str]], name: str, count: int) -> list[float]:
    """The last `count` words of a line."""
    try:
        numbers = [float(word) for word in entries[name][-count:]]
    except (KeyError, ValueError) as error:
        raise SourceError(f"{path}: {name} with {count} numbers is missing ({error})") from error
    if len(numbers) != count:
        raise SourceError(f"{path}: {name} has {len(numbers)} numbers, not {count}")
    return numbers
