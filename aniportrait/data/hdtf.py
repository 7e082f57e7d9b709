"""HDTF: tables of time stamps, crops and resolutions, and beside them the cut clips or the whole videos.

The set: https://github.com/MRzzm/HDTF
"""

import re
from pathlib import Path
from urllib.parse import parse_qs, urlparse

from aniportrait.data.sources import (
    FaceBox,
    SourceClip,
    SourceError,
    existing_folder,
    found_video,
    with_splits,
)

SUBSETS = ("RD", "WDA", "WRA")
SPAN = re.compile(r"(?P<begin>[\d:.]+)-(?P<end>[\d:.]+)")


class HDTFSource:
    """The clips of HDTF that are on this machine.

    Persons are the names of the videos; a number at the end of a WDA or WRA name tells videos of one person
    apart (RD names are numbers of programmes and stay whole). A clip whose crop is missing is taken all the
    same: the face is looked for in the whole picture.

    Args:
        tables: the folder HDTF_dataset with {RD,WDA,WRA}_video_url.txt, _annotion_time.txt, _crop_wh.txt and,
            where they are, _resolution.txt.
        clips: folder of clips cut as the set's README or its download.py does: {name}_{i} or
            {subset}_{name}_{iii}.
        videos: folder of the whole videos, each called {name}, {subset}_{name} or by its YouTube id. A clip
            that is in both is taken from the video.
    """

    def __init__(self, tables: str | Path, clips: str | Path | None = None, videos: str | Path | None = None):
        self.tables, self.clip_folder, self.video_folder = Path(tables), clips, videos

    def clips(self) -> list[SourceClip]:
        existing_folder(self.tables)
        clips, videos = existing_folder(self.clip_folder), existing_folder(self.video_folder)
        if clips is None and videos is None:
            raise SourceError("source=hdtf needs source.clips (cut clips) or source.videos")
        subsets = [name for name in SUBSETS if (self.tables / f"{name}_annotion_time.txt").is_file()]
        if not subsets:
            raise SourceError(f"{self.tables} holds no table of times (RD_annotion_time.txt and the like)")
        found = [clip for subset in subsets for clip in self._subset(subset, clips, videos)]
        if not any(clip.path.exists() for clip in found):
            raise SourceError(f"none of {len(found)} clips of {self.tables} is in {videos or clips}")
        return with_splits(found)

    def _subset(self, subset: str, clips: Path | None, videos: Path | None) -> list[SourceClip]:
        times, crops, heights, addresses = (
            _table(self.tables / f"{subset}_{kind}.txt")
            for kind in ("annotion_time", "crop_wh", "resolution", "video_url")
        )
        found = []
        for video, spans in times.items():
            name = video.removesuffix(".mp4")
            youtube = _youtube_id(addresses.get(name, addresses.get(video, [])))
            stems = [stem for stem in (name, f"{subset}_{name}", youtube) if stem]
            whole = found_video((videos,), stems)
            for index, span in enumerate(spans):
                title = f"{subset}_{name}_{index}"
                recording = youtube or f"{subset}_{name}"
                if whole is not None:
                    begin, end = _span(self.tables, video, span)
                    box = _box(crops.get(f"{name}_{index}.mp4"), heights.get(video))
                    clip = SourceClip(whole, _person(subset, name), None, title, recording, begin, end, box)
                else:
                    cut = found_video((clips,), (f"{name}_{index}", f"{subset}_{name}_{index:03d}", title))
                    if cut is None:
                        cut = (videos or clips or Path()) / f"{name if videos else title}.mp4"
                    clip = SourceClip(cut, _person(subset, name), None, title, recording)
                found.append(clip)
        return found


def _table(path: Path) -> dict[str, list[str]]:
    """First word of each line -> the others; empty where the table is missing. Blanks may be doubled or trail."""
    if not path.is_file():
        return {}
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is not a text file ({error})") from error
    return {words[0]: words[1:] for words in lines if words}


def _person(subset: str, name: str) -> str:
    return name if subset == "RD" else re.sub(r"\d+$", "", name) or name


def _span(tables: Path, video: str, span: str) -> tuple[float, float]:
    """mm:ss-mm:ss, hours in front where there are any -> seconds."""
    match = SPAN.fullmatch(span)
    try:
        if match is None:
            raise ValueError("not mm:ss-mm:ss")
        begin, end = (_clock(match[name]) for name in ("begin", "end"))
        if end <= begin:
            raise ValueError("it ends before it begins")
    except ValueError as error:
        raise SourceError(f"{tables}: time {span!r} of {video}: {error}") from error
    return begin, end


def _clock(text: str) -> float:
    seconds = 0.0
    for part in text.split(":"):
        seconds = 60 * seconds + float(part)
    return seconds


def _box(crop: list[str] | None, resolution: list[str] | None) -> FaceBox | None:
    """x, width, y, height in pixels of the stated resolution; None unless both are known and make sense."""
    try:
        x, width, y, height = (float(number) for number in crop or ())
        (lines,) = (float(number) for number in resolution or ())
        return FaceBox(x, y, x + width, y + height, lines)
    except ValueError:
        return None


def _youtube_id(address: list[str]) -> str:
    """Of an address as in the table, which may carry more than the id (&t=6s)."""
    if not address:
        return ""
    parts = urlparse(address[0])
    if parts.hostname == "youtu.be":
        return parts.path.strip("/")
    return (parse_qs(parts.query).get("v") or [""])[0]
