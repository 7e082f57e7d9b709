"""Folders of videos as pairs of what was generated and what is real."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional

from aniportrait.data.media import probe, read_video
from aniportrait.data.sound import NoAudioError, read_audio
from aniportrait.evaluation.video_pair import ScoredVideo, VideoPair
from aniportrait.face.landmarks import FaceLandmarker, NoFaceError
from aniportrait.face.topology import BLENDSHAPES, POINTS, VERTICES
from aniportrait.face.track import FaceTrack

VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".gif")
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
LENGTH_TOLERANCE = 0.1
"""Seconds by which a pair may differ in length before it is said that only the common part is scored."""


@dataclass(frozen=True)
class PairFiles:
    """The files of one clip; `real`, `reference` and `driving` are None where there is none."""

    key: str
    generated: Path
    real: Path | None = None
    reference: Path | None = None
    driving: Path | None = None

    @property
    def fingerprint(self) -> list[list[str | int]]:
        """Name, size and time of each file: changes with any of them."""
        files = (self.generated, self.real, self.reference, self.driving)
        there = (file for file in files if file is not None)
        return [[str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns] for file in there]


def pairs_of_folders(
    generated: str | Path,
    real: str | Path | None = None,
    reference: str | Path | None = None,
    driving: str | Path | None = None,
) -> list[PairFiles]:
    """The videos of a folder, each with the files of the same name in the others, in order of their names.

    Raises:
        ValueError: no video, two of one name, or a generated video whose name has no file in a folder that is given.
    """
    ours = _by_name(generated, VIDEOS, "videos.generated")
    folders = {"real": (real, VIDEOS), "reference": (reference, PICTURES), "driving": (driving, VIDEOS)}
    beside = {
        what: _by_name(folder, suffixes, f"videos.{what}")
        for what, (folder, suffixes) in folders.items()
        if folder
    }
    for what, files in beside.items():
        if alone := sorted(set(ours) - set(files)):
            raise ValueError(
                f"{len(alone)} of {len(ours)} generated videos have no file of the same name in videos.{what}: "
                f"{', '.join(alone[:5])}{', ...' if len(alone) > 5 else ''}"
            )
    return [
        PairFiles(key, ours[key], **{what: files[key] for what, files in beside.items()})
        for key in sorted(ours)
    ]


def read_pair(
    files: PairFiles, landmarker: FaceLandmarker, size: int | None = None, fps: float | None = None
) -> tuple[VideoPair, str | None]:
    """A pair as metrics see it, and a remark if something of it was left out.

    Both come at one rate and one size: `fps` or the generated video's own, (size, size) or the generated video's own.
    Only the frames that both have are kept.

    Args:
        landmarker: in image mode, so that a frame's landmarks do not depend on how many came before.
    """
    rate = fps or probe(files.generated).fps
    frames = _frames(files.generated, rate, (size, size) if size else None)
    height, width = frames.shape[-2:]
    real = None if files.real is None else _frames(files.real, rate, (height, width))
    remark = None
    if real is not None:
        if abs(len(real) - len(frames)) > LENGTH_TOLERANCE * rate:
            remark = f"{len(frames)} generated and {len(real)} real frames: the common ones are scored"
        count = min(len(real), len(frames))
        frames, real = frames[:count], real[:count]
    driving = None if files.driving is None else _frames(files.driving, rate, (height, width))[: len(frames)]
    reference, face = None, None
    if files.reference is not None:
        with Image.open(files.reference) as opened:
            picture = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
        tensor = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None]
        reference = _resized(tensor, (height, width), files.reference)
        face = detected(reference, landmarker, rate)
    pair = VideoPair(
        files.key,
        _scored(files.generated, frames, landmarker, rate),
        None if real is None or files.real is None else _scored(files.real, real, landmarker, rate),
        None if reference is None else reference[0],
        face,
        None
        if driving is None or files.driving is None
        else _scored(files.driving, driving, landmarker, rate),
    )
    return pair, remark


def detected(frames: Tensor, landmarker: FaceLandmarker, fps: float) -> FaceTrack:
    """The face of (f, 3, h, w) uint8 frames; zeros and not valid throughout where no frame shows one."""
    try:
        return landmarker.track((frame.permute(1, 2, 0).contiguous().numpy() for frame in frames), fps)
    except NoFaceError:
        f = len(frames)
        return FaceTrack(
            landmarks=np.zeros((f, POINTS, 3), np.float32),
            vertices=np.zeros((f, VERTICES, 3), np.float32),
            pose_matrix=np.tile(np.eye(4, dtype=np.float32), (f, 1, 1)),
            blendshapes=np.zeros((f, len(BLENDSHAPES)), np.float32),
            valid=np.zeros(f, bool),
        )


def _by_name(folder: str | Path, suffixes: Sequence[str], setting: str) -> dict[str, Path]:
    """Name without suffix -> file, of the files below a folder that are not hidden."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{setting}={folder} is not a folder")
    files: dict[str, Path] = {}
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)  # what a killed process left, say
        if file.suffix.lower() in suffixes and not hidden:
            key = name.with_suffix("").as_posix()
            if key in files:
                raise ValueError(
                    f"{setting}: {files[key].name} and {file.name} have the same name: rename one"
                )
            files[key] = file
    if not files:
        raise ValueError(f"{setting}={folder} holds no file that ends in {', '.join(suffixes)}")
    return files


def _frames(path: Path, fps: float, size: tuple[int, int] | None) -> Tensor:
    """(f, 3, h, w) uint8, resized as they come."""
    frames = []
    for picture in read_video(path, fps):
        frame = torch.from_numpy(picture).permute(2, 0, 1)[None]
        frames.append(frame if size is None else _resized(frame, size, path))
    return torch.cat(frames)


def _resized(frames: Tensor, size: tuple[int, int], path: Path) -> Tensor:
    """(f, 3, h, w) uint8 -> (f, 3, *size) uint8, bilinear with antialias; over 2 % of distortion is an error."""
    height, width = frames.shape[-2:]
    if (height, width) == size:
        return frames
    if abs(height * size[1] / (width * size[0]) - 1) > 0.02:
        raise ValueError(
            f"{path.name}: {width}x{height} pixels cannot become {size[1]}x{size[0]} without distortion: "
            "crop videos and portraits alike first"
        )
    shrunk = functional.interpolate(frames.float(), size, mode="bilinear", antialias=True)
    return shrunk.round().clamp(0, 255).byte()


def _scored(path: Path, frames: Tensor, landmarker: FaceLandmarker, fps: float) -> ScoredVideo:
    try:
        audio = read_audio(path, start=probe(path).start)
    except NoAudioError:
        audio = None
    return ScoredVideo(frames, detected(frames, landmarker, fps), audio, fps)
