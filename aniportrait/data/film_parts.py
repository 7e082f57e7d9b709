"""Films that are written part by part, so that a process that was killed goes on after the last one."""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from aniportrait.data.film_file import join_parts, part_size, write_part
from aniportrait.data.soundtrack import SoundFile, soundtrack
from aniportrait.data.whole_file import whole_file

log = logging.getLogger(__name__)

LOCK, STATE = "lock", "state.safetensors"


class FilmParts:
    """A film on its way to `out`: every part is whole on disk, so that a killed process goes on after the last one.

    The finished file is the same bytes however often its making was stopped, if `add` gets the same parts.
    While it is being made nobody else can make it; `with` lets go of it, finished or not.

    Args:
        out: the mp4 to write; its parts lie in a hidden folder beside it until then.
        fps: frames per second.
        identity: says of what the film is made, all settings and inputs; parts of another one are thrown away.
        crf: x264's quality, lower is better.

    Raises:
        ValueError: another process makes this film, or `out` is a folder.
    """

    def __init__(self, out: Path, fps: float, identity: str, crf: int = 18):
        if out.is_dir():
            raise ValueError(f"{out} is a folder, and a film is a file")
        self.state: dict[str, Tensor] = {}
        """What `add` was last given: what the maker of the frames needs to go on."""
        self._out, self._fps, self._crf = out, fps, crf
        self._identity = f"{identity} fps={fps!r} crf={crf}"
        self._folder = out.with_name(f".{out.name}.parts")
        self._lock = _locked(self._folder, out)
        self._parts: list[_Part] = []
        try:
            self._go_on()
        except BaseException:
            self._lock.release()
            raise

    @property
    def frames(self) -> int:
        """How many are in finished parts."""
        return sum(part.frames for part in self._parts)

    def add(self, frames: np.ndarray | Iterable[np.ndarray], state: Mapping[str, Tensor]) -> None:
        """Write one part, and what its maker needs to go on after it.

        Args:
            frames: (n, h, w, 3) uint8 RGB, or n such pictures, of the size of the parts before.
            state: tensors by name.
        """
        file = self._folder / f"{len(self._parts):06}.mp4"
        with whole_file(file) as partial:
            count = write_part(partial, frames, self._fps, self._crf)
            size, first = part_size(partial), part_size(self._files()[0] if self._parts else partial)
            if size != first:
                raise ValueError(f"frames after frame {self.frames} are {size}, those before are {first}")
        parts = [*self._parts, _Part(file.name, count, _digest(file))]
        saved = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
        self._save(parts, saved)
        self._parts, self.state = parts, saved

    def finish(
        self,
        sound: str | Path | SoundFile | np.ndarray | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Join the parts as they are into the mp4, which appears whole or not at all, and remove them.

        Args:
            sound: (n,) float waveform at 16 kHz, or a file whose sound is taken, see `soundtrack`.
            metadata: title, comment and the like, which the file says of itself.
        """
        if not self._parts:
            raise ValueError("a video needs at least one frame, there is none")
        track = None if sound is None else soundtrack(sound)
        joined = self._folder / self._out.name  # within: what a kill leaves of it goes with the parts
        join_parts(joined, self._files(), self._fps, track, metadata)
        os.replace(joined, self._out)
        shutil.rmtree(self._folder)
        self._lock.release()

    def __enter__(self) -> "FilmParts":
        return self

    def __exit__(self, *exception: object) -> None:
        if not self._parts and self._lock.is_locked:  # nothing to go on from
            shutil.rmtree(self._folder, ignore_errors=True)
        self._lock.release()

    def _go_on(self) -> None:
        """Take up what lies in the folder, or empty it."""
        try:
            self._parts, self.state = self._found()
        except FileNotFoundError:  # nothing, or the very first part was being written
            self._parts, self.state = [], {}
        except _UnusableError as reason:
            log.warning("%s is begun anew: %s", self._out, reason)
            self._parts, self.state = [], {}
        if self._parts:
            log.info("%s goes on after frame %d", self._out, self.frames)
        kept = {LOCK, STATE, *(part.name for part in self._parts)}
        for file in self._folder.iterdir():
            if file.name not in kept:
                file.unlink()
        self._save(self._parts, self.state)

    def _found(self) -> "tuple[list[_Part], dict[str, Tensor]]":
        file = self._folder / STATE
        if not file.exists():
            raise FileNotFoundError(file)
        try:
            with safe_open(file, "pt") as stored:
                facts = stored.metadata() or {}
                names = stored.keys()
                state = {name: stored.get_tensor(name) for name in names}
            identity, parts = facts["identity"], [_Part(**part) for part in json.loads(facts["parts"])]
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise _UnusableError(f"{file} is damaged ({error})") from error
        if identity != self._identity:
            raise _UnusableError(f"the parts in {self._folder} are of other settings or inputs")
        for part in parts:
            if not (path := self._folder / part.name).is_file() or _digest(path) != part.digest:
                raise _UnusableError(f"{path} is missing or damaged")
        return parts, state

    def _save(self, parts: "list[_Part]", state: dict[str, Tensor]) -> None:
        facts = {"identity": self._identity, "parts": json.dumps([asdict(part) for part in parts])}
        with whole_file(self._folder / STATE) as partial:
            save_file(state, partial, facts)

    def _files(self) -> list[Path]:
        return [self._folder / part.name for part in self._parts]


@dataclass(frozen=True)
class _Part:
    name: str
    frames: int
    digest: str


class _UnusableError(ValueError):
    """Parts that a film cannot go on from."""


def _locked(folder: Path, out: Path) -> FileLock:
    """The folder, made and kept from others until it is released or the process ends."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK, thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise ValueError(
                f"{out} is being made by another process: wait for it, or choose another"
            ) from None
        if (folder / LOCK).exists():
            return lock
        lock.release()  # of a folder that its maker has just removed


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
