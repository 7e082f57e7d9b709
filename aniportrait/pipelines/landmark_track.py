"""The face of a film, kept in a file: what animate.py follows without looking at the film again."""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.lib.npyio import NpzFile

from aniportrait.data.whole_file import whole_file
from aniportrait.face.head_pose import resampled_pose_matrix
from aniportrait.face.landmarks import fill_gaps
from aniportrait.face.track import FaceTrack

SHAPES = {
    "landmarks": (478, 3),
    "vertices": (468, 3),
    "pose_matrix": (4, 4),
    "blendshapes": (52,),
    "valid": (),
}
GRIDS = {"landmarks": 2.0**-12, "vertices": 2.0**-8, "blendshapes": 2.0**-10}
"""What stored numbers are multiples of: 1/8 pixel of 512, 0.04 mm, a thousandth. A minute of 25 fps takes 8 MB."""
UNREADABLE = (
    OSError, ValueError, TypeError, KeyError, EOFError, MemoryError, OverflowError, RuntimeError, SyntaxError,
    BadZipFile, TokenError, struct.error, zlib.error,
)  # fmt: skip
"""What numpy raises at files that are no .npz, half of one, or damaged in a header."""


@dataclass(frozen=True)
class LandmarkTrack:
    """A face through a film.

    Args:
        face: where it is in each frame.
        fps: frames per second.
    """

    face: FaceTrack
    fps: float

    def played(self, frames: int, fps: float) -> "LandmarkTrack":
        """So many frames at another rate; forwards and backwards where the film is shorter."""
        if (frames, fps) == (len(self.face), self.fps):
            return self
        return LandmarkTrack(
            resampled_track(self.face, there_and_back(frames, self.fps / fps, len(self.face))), fps
        )

    def at(self, fps: float) -> "LandmarkTrack":
        """All of it, at another rate."""
        return self.played(max(1, round(len(self.face) * fps / self.fps)), fps)

    def save(self, path: str | Path) -> None:
        """Write an .npz of plain numbers, rounded to GRIDS; whole or not at all."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {name: _rounded(getattr(self.face, name), GRIDS.get(name)) for name in SHAPES}
        with whole_file(path) as partial, partial.open("wb") as stream:
            np.savez_compressed(stream, allow_pickle=False, fps=np.float64(self.fps), **arrays)

    @staticmethod
    def load(path: str | Path) -> "LandmarkTrack":
        """A track from `save`, or one with the same arrays as numbers of any kind; nothing in it is unpickled."""
        with stored_arrays(path, "landmark track") as stored:
            missing = [name for name in (*SHAPES, "fps") if name not in getattr(stored, "files", ())]
            if missing:
                raise ValueError(f"it holds no {', '.join(missing)}: pose_template.py writes such files")
            arrays, fps = {name: stored[name] for name in SHAPES}, float(stored["fps"])
        _check(path, arrays, fps)
        track = FaceTrack(**{name: _plain(name, array) for name, array in arrays.items()})
        return LandmarkTrack(fill_gaps(track), fps)


@contextmanager
def stored_arrays(path: str | Path, what: str) -> Iterator[Any]:
    """The array of an .npy or the archive of an .npz, which are read within the block; nothing is unpickled.

    Whatever goes wrong there ends as a ValueError that names `what` it was to be.
    """
    try:
        stored = np.load(path, allow_pickle=False)
        try:
            yield stored
        finally:
            if isinstance(stored, NpzFile):
                stored.close()
    except UNREADABLE as error:
        reason = "it holds no plain arrays" if "pickle" in str(error) else error
        raise ValueError(f"{what} {path} cannot be read ({reason})") from error


def resampled_track(track: FaceTrack, places: np.ndarray) -> FaceTrack:
    """The face between frames: poses on SO(3), the rest linearly; valid where both neighbours are.

    Args:
        places: (m,) frame numbers, fractions allowed; beyond the ends, the ends.
    """
    places = np.clip(places, 0, len(track) - 1)
    before, after = np.floor(places).astype(int), np.ceil(places).astype(int)
    share = (places - before).astype(np.float32)

    def between(values: np.ndarray) -> np.ndarray:
        weight = share.reshape(-1, *(1,) * (values.ndim - 1))
        return values[before] * (1 - weight) + values[after] * weight

    return FaceTrack(
        landmarks=between(track.landmarks),
        vertices=between(track.vertices),
        pose_matrix=resampled_pose_matrix(track.pose_matrix, places).astype(track.pose_matrix.dtype),
        blendshapes=between(track.blendshapes),
        valid=track.valid[before] & track.valid[after],
    )


def there_and_back(frames: int, step: float, length: int) -> np.ndarray:
    """(frames,) places in a film of `length` frames that is played forwards and backwards, `step` at a time."""
    places, last = np.arange(frames) * step, length - 1
    return last - np.abs(np.mod(places, 2 * last) - last) if last > 0 else np.zeros(frames)


def _rounded(array: np.ndarray, grid: float | None) -> np.ndarray:
    if grid is None:
        return array
    return (np.round(np.asarray(array, np.float64) / grid) * grid).astype(np.float32)


def _check(path: str | Path, arrays: dict[str, np.ndarray], fps: float) -> None:
    """Every rule that a stored track must keep; ValueError names the first that it breaks."""
    frames = len(arrays["valid"]) if arrays["valid"].ndim else 0
    for name, shape in SHAPES.items():
        array, wanted = arrays[name], "booleans" if name == "valid" else "numbers"
        if array.shape != (frames, *shape) or not frames:
            due = str(("frames", *shape)).replace("'", "")
            raise ValueError(f"landmark track {path}: {name} {array.shape} must have the shape {due}")
        if array.dtype.kind not in ("b" if name == "valid" else "fiu"):
            raise ValueError(f"landmark track {path}: {name} ({array.dtype}) must be {wanted}")
        if not np.isfinite(array).all():
            raise ValueError(f"landmark track {path}: {name} must hold finite numbers")
    if not 0.0 < fps <= 1000.0:
        raise ValueError(f"landmark track {path}: fps ({fps}) must be above 0 and at most 1000")
    if not arrays["valid"].any():
        raise ValueError(f"landmark track {path} has no valid frame: there is no face to follow")
    pose_matrix = arrays["pose_matrix"][arrays["valid"]].astype(np.float64)
    if (np.linalg.det(pose_matrix[:, :3, :3]) <= 0).any() or (pose_matrix[:, 2, 3] >= 0).any():
        raise ValueError(
            f"landmark track {path}: pose_matrix must turn a face and hold it before the camera (z below 0)"
        )


def _plain(name: str, array: np.ndarray) -> np.ndarray:
    return array if name == "valid" else array.astype(np.float32)
