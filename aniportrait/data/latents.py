"""Precomputed latents and image embeddings of every frame: tars and an index in a folder beside the shards.

They are the encoders' answers to whole, unchanged pictures at one size, and say so: training takes them for that
alone.
"""

import io
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm
from webdataset.writer import TarWriter

from aniportrait.data.clip_cache import readable
from aniportrait.data.clip_codec import decode_frames
from aniportrait.data.schema import EMBEDS, LATENTS, VIDEO
from aniportrait.data.shards import (
    BLOCK,
    ShardEntry,
    ShardError,
    ShardIndex,
    read_member,
)
from aniportrait.data.transforms import resized, signed_unit
from aniportrait.data.transport import PIPE, Location, is_local, transport_of
from aniportrait.data.whole_file import whole_file, write_text

log = logging.getLogger(__name__)

FOLDER = "latents"
FORMAT = 1

OTHER = {
    "autoencoder": "another autoencoder",
    "image_encoder": "another image encoder",
    "image_size": "another image_size",
    "data": "other shards, or another crop of them,",
}

Encode = Callable[[Tensor], tuple[Tensor, Tensor]]
"""(n, 3, h, w) in [-1, 1] -> latents (n, c, h/8, w/8), image embeddings (n, d)."""


@dataclass(frozen=True)
class LatentsOrigin:
    """What latents were made by and from.

    Args:
        autoencoder, image_encoder: class and a hash of the weights.
        image_size: side of the pictures, pixels.
        data: digest of the shards' index, hence of their crop.
    """

    autoencoder: str
    image_encoder: str
    image_size: int
    data: str

    def check(self, wanted: "LatentsOrigin", folder: Location) -> None:
        """A ValueError that says what is another."""
        for name, ours in asdict(self).items():
            if ours != getattr(wanted, name):
                raise ValueError(
                    f"the latents in {folder}/{FOLDER} belong to {OTHER[name]} than this training has ({ours}, "
                    f"not {getattr(wanted, name)}): make them again with python prepare.py step=latents "
                    f"data.folder={folder}, or leave them with data.latents=false"
                )


class Latents:
    """Reads latents of single frames.

    Args:
        origin: see LatentsOrigin.
        content: the latents' index.
    """

    def __init__(self, origin: LatentsOrigin, content: dict[str, Any]):
        self.origin = origin
        self._shapes = {name: tuple(content["shapes"][name]) for name in (LATENTS, EMBEDS)}
        self._samples: dict[str, dict[str, Any]] = content["samples"]

    @staticmethod
    def load(folder: Location) -> "Latents | None":
        """Those of a data set, if it has any. Data sets that come through a pipe have none."""
        if str(folder).startswith(PIPE):
            return None
        name = f"{FOLDER}/index.json"
        try:
            content = json.loads(transport_of(folder).read(name))
        except FileNotFoundError:
            return None
        if content.get("format") != FORMAT:
            raise ShardError(
                f"{folder}/{name} has format {content.get('format')}, this version reads {FORMAT}"
            )
        return Latents(LatentsOrigin(**content["origin"]), content)

    def read(self, entry: ShardEntry, frames: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Latents (n, c, h/8, w/8) of the frames, and the image embedding (1, d) of the last: float16."""
        if entry.key not in self._samples:
            raise ShardError(f"sample {entry.key} of {entry.shard} has no latents")
        *window, portrait = frames
        parts = [self._rows(entry, LATENTS, rows) for rows in (window, [portrait]) if rows]
        return np.concatenate(parts), self._rows(entry, EMBEDS, [portrait])

    def _rows(self, entry: ShardEntry, name: str, rows: Sequence[int]) -> np.ndarray:
        """Some rows of an array, read from the first to the last of them."""
        shape, place = self._shapes[name], self._samples[entry.key]
        width, first = 2 * int(np.prod(shape)), min(rows)
        count = max(rows) - first + 1
        shard = f"{FOLDER}/{place['shard']}"
        data = transport_of(entry.folder).read(shard, place[name] + first * width, count * width)
        if len(data) != count * width:
            raise ShardError(f"{entry.folder}/{shard} ends before the {name} of sample {entry.key}")
        return np.frombuffer(data, np.float16).reshape(count, *shape)[np.asarray(rows) - first]


def latents_of(
    indexes: Sequence[ShardIndex],
    encoders: Callable[[], tuple[str, str]],
    image_size: int,
    *,
    unchanged: bool,
) -> dict[Location, Latents] | None:
    """Those of every data set, or None where none has any; a ValueError where they do not fit what is to be trained.

    Args:
        encoders: gives autoencoder and image encoder as in LatentsOrigin, hashes of their weights: asked at need.
        image_size: as in LatentsOrigin.
        unchanged: whether pictures are trained on as they are stored.
    """
    found = {index.folder: latents for index in indexes if (latents := Latents.load(index.folder))}
    if not found:
        return None
    names = encoders()
    for index in indexes:
        if index.folder not in found:
            raise ValueError(
                f"{index.folder} holds no latents, other data sets do: python prepare.py step=latents "
                f"data.folder={index.folder} makes them, data.latents=false does without"
            )
        wanted = LatentsOrigin(*names, image_size, index.digest)
        found[index.folder].origin.check(wanted, index.folder)
    if not unchanged:
        raise ValueError(
            f"the latents in {next(iter(found))} are of unchanged pictures: set flip_chance, smallest_crop and "
            "colour_change to 0, 1 and 0, or data.latents=false"
        )
    return found


def write_latents(
    folder: Location,
    encode: Encode,
    origin: LatentsOrigin,
    *,
    precision: str = "32",
    batch_size: int = 16,
    max_bad: int = 10,
) -> Path:
    """Encode every frame of a data set; where it was interrupted before, only the shards that are missing.

    Args:
        folder: of the shards; the latents go into its folder `latents`.
        encode: see Encode.
        origin: what `encode` and the shards are.
        precision: what `encode` computes in; in another, all is encoded anew.
        batch_size: pictures encoded together.
        max_bad: clips that may turn out unreadable before that is an error.

    Returns:
        the folder of the latents.
    """
    if not is_local(folder):
        raise ValueError(
            f"data.folder={folder} must be a folder of this machine: latents are written beside it"
        )
    index, target = ShardIndex.load(folder), Path(folder) / FOLDER
    made = {"origin": asdict(origin), "precision": precision}
    if (target / "index.json").is_file():
        whole = {"precision": "32"} | json.loads((target / "index.json").read_text())
        if whole.get("format") == FORMAT and whole | made == whole:
            log.info("%s holds these latents already", target)
            return target
        (target / "index.json").unlink()
    target.mkdir(exist_ok=True)
    shards: dict[str, list[ShardEntry]] = {}
    for entry in index.samples:
        shards.setdefault(entry.shard, []).append(entry)
    samples: dict[str, dict[str, Any]] = {}
    shapes: dict[str, Any] = {}
    bad = 0
    bar = tqdm(total=sum(entry.frames for entry in index.samples), desc="encoding", unit=" frames")
    for shard, entries in shards.items():
        part = _part(target, shard, made)
        if part is None:
            part = _write_part(target, shard, entries, encode, made, origin.image_size, batch_size, bar)
        else:
            bar.update(sum(entry.frames for entry in entries))
        samples |= part["samples"]
        shapes = shapes or part["shapes"]
        bad += len(entries) - len(part["samples"])
        if bad > max_bad:
            raise ShardError(f"more than max_bad ({max_bad}) clips of {folder} cannot be read")
    bar.close()
    for stale in set(target.glob("*.tar")) - {target / shard for shard in shards}:
        stale.unlink()
    content = {"format": FORMAT, **made, "shapes": shapes, "samples": samples}
    write_text(target / "index.json", json.dumps(content) + "\n")
    for left in (*target.glob("*.part.json"), *target.glob(".*.partial")):
        left.unlink()
    return target


def _part(target: Path, shard: str, made: dict[str, Any]) -> dict[str, Any] | None:
    """What an interrupted run said of a shard that it had finished in the same way."""
    path = target / f"{shard}.part.json"
    part = json.loads(path.read_text()) if path.is_file() else None
    return part if part and part | made == part else None


def _write_part(
    target: Path,
    shard: str,
    entries: list[ShardEntry],
    encode: Encode,
    made: dict[str, Any],
    image_size: int,
    batch_size: int,
    bar: tqdm,
) -> dict[str, Any]:
    part: dict[str, Any] = {**made, "shapes": {}, "samples": {}}
    record = target / f"{shard}.part.json"
    with whole_file(target / shard) as partial:
        with partial.open("wb") as stream:
            writer = TarWriter(stream, encoder=False, mtime=0, user="", group="")
            for entry in entries:
                try:
                    arrays = _encoded(entry, encode, image_size, batch_size)
                except ShardError as error:
                    log.warning("clip %s gets no latents: %s", entry.key, error)
                    continue
                finally:
                    bar.update(entry.frames)
                part["shapes"] = {name: array.shape[1:] for name, array in arrays.items()}
                part["samples"][entry.key] = {"shard": shard, **_append(writer, entry.key, arrays)}
            writer.close()
        record.unlink(missing_ok=True)  # it tells of an earlier tar, maybe of another encoder's
    write_text(record, json.dumps(part) + "\n")
    return part


def _append(writer: TarWriter, key: str, arrays: dict[str, np.ndarray]) -> dict[str, int]:
    """Add a sample to the tar; array name -> offset of its first number."""
    members = {f"{name}.npy": _npy(arrays[name]) for name in sorted(arrays)}
    offset, places = writer.tarstream.offset, {}
    for member, data in members.items():
        name = member.removesuffix(".npy")
        places[name] = offset + BLOCK + len(data) - arrays[name].nbytes
        offset += BLOCK + -(-len(data) // BLOCK) * BLOCK
    writer.write({"__key__": key, **members})
    if writer.tarstream.offset != offset:
        raise ShardError(f"the latents of {key} end at {writer.tarstream.offset}, expected {offset}")
    return places


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _encoded(entry: ShardEntry, encode: Encode, size: int, batch_size: int) -> dict[str, np.ndarray]:
    """Latents and embeddings of all frames of a clip, float16."""
    parts: list[tuple[Tensor, Tensor]] = []
    for pictures in _pictures(entry, size, batch_size):
        pixels = signed_unit(torch.from_numpy(pictures).permute(0, 3, 1, 2))
        parts.append(encode(pixels))
    columns = zip((LATENTS, EMBEDS), zip(*parts, strict=True), strict=True)
    arrays = {name: torch.cat(column).half().cpu().numpy() for name, column in columns}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"the {name} of {entry.key} do not fit into float16")
    return arrays


def _pictures(entry: ShardEntry, size: int, count: int) -> Iterator[np.ndarray]:
    video = readable(entry, lambda: read_member(entry.folder, entry, VIDEO))
    for first in range(0, entry.frames, count):
        frames = range(first, min(first + count, entry.frames))
        yield resized(readable(entry, lambda frames=frames: decode_frames(video, frames)), size)
