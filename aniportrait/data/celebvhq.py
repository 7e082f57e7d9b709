"""CelebV-HQ: one JSON with times and boxes, and beside it the cut clips or the whole videos.

The set: https://github.com/CelebV-HQ/CelebV-HQ
"""

import json
from pathlib import Path
from typing import Any

from aniportrait.data.sources import (
    FaceBox,
    SourceClip,
    SourceError,
    existing_folder,
    found_video,
    with_splits,
)

EXPANSION = 0.02
"""Added to a box on each side, in shares of the picture, as the official script does."""


class CelebVHQSource:
    """The clips of CelebV-HQ that are on this machine.

    The set names no persons; clips of one video count as one person.

    Args:
        info: celebvhq_info.json.
        clips: folder of cut clips, each called by its key ({YouTube id}_{number}). Some copies are not
            cropped and some have no sound: both are seen to by preparation.
        videos: folder of the YouTube videos, each called by its id. Keys and ids look alike, hence two
            folders. A clip that is in both is taken from the video, whose picture was not cropped.
    """

    def __init__(self, info: str | Path, clips: str | Path | None = None, videos: str | Path | None = None):
        self.info, self.clip_folder, self.video_folder = Path(info), clips, videos

    def clips(self) -> list[SourceClip]:
        clips, videos = existing_folder(self.clip_folder), existing_folder(self.video_folder)
        if clips is None and videos is None:
            raise SourceError("source=celebvhq needs source.clips (cut clips) or source.videos")
        entries = _entries(self.info)
        found = [self._clip(key, entry, clips, videos) for key, entry in sorted(entries.items())]
        if not any(clip.path.exists() for clip in found):
            raise SourceError(f"none of {len(found)} clips of {self.info} is in {videos or clips}")
        return with_splits(found)

    def _clip(self, key: str, entry: Any, clips: Path | None, videos: Path | None) -> SourceClip:
        try:
            video = str(entry["ytb_id"])
            begin, end = (float(entry["duration"][name]) for name in ("start_sec", "end_sec"))
            top, bottom, left, right = (
                float(entry["bbox"][name]) for name in ("top", "bottom", "left", "right")
            )
            box = FaceBox(
                max(0.0, left - EXPANSION),
                max(0.0, top - EXPANSION),
                min(1.0, right + EXPANSION),
                min(1.0, bottom + EXPANSION),
                1.0,
                1.0,
            )
            if (whole := found_video((videos,), (video,))) is not None:
                return SourceClip(whole, video, None, key, video, begin, end, box)
        except (KeyError, TypeError, ValueError) as error:
            raise SourceError(f"{self.info}: clip {key}: {type(error).__name__} {error}") from error
        cut = found_video((clips,), (key,))
        if cut is None:
            cut = (videos or clips or Path()) / f"{video if videos else key}.mp4"
        return SourceClip(cut, video, None, key, video)


def _entries(info: Path) -> dict[str, Any]:
    if not info.is_file():
        raise FileNotFoundError(f"{info} does not exist")
    try:
        entries = json.loads(info.read_text(encoding="utf-8"))["clips"]
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise SourceError(
            f"{info} is not celebvhq_info.json, which has an entry clips ({type(error).__name__} {error})"
        ) from error
    if not isinstance(entries, dict) or not entries:
        raise SourceError(f"{info} names no clip")
    return entries
