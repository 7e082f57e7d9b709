"""A sample <-> the bytes of its members in a shard."""

import dataclasses
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from aniportrait.data.schema import ARRAYS, AUDIO, META, VIDEO, ClipMeta, ClipSample
from aniportrait.data.sound import decode_flac, encode_flac
from aniportrait.face.track import FaceTrack

TRACK_ARRAYS = tuple(field.name for field in dataclasses.fields(FaceTrack))
NEUTRAL, EXPECTED = "neutral_vertices", "expected_vertices"


def encode_sample(sample: ClipSample) -> dict[str, bytes]:
    """The members of a sample, extension -> bytes."""
    meta, frames = sample.meta, sample.meta.frames
    if len(sample.track) != frames:
        raise ValueError(f"sample {meta.key} has {frames} frames and a face track of {len(sample.track)}")
    if meta.has_audio != (sample.audio is not None):
        raise ValueError(f"sample {meta.key}: has_audio is {meta.has_audio}, which its audio contradicts")
    arrays = {name: getattr(sample.track, name) for name in TRACK_ARRAYS}
    arrays[NEUTRAL] = sample.neutral_vertices
    if sample.expected_vertices is not None:
        arrays[EXPECTED] = sample.expected_vertices
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{name: _storable(array) for name, array in arrays.items()})
    described = json.dumps(dataclasses.asdict(meta), sort_keys=True).encode()
    members = {VIDEO: sample.video, ARRAYS: buffer.getvalue(), META: described}
    if sample.audio is not None:
        members[AUDIO] = encode_flac(sample.audio)
    return members


def decode_sample(members: dict[str, bytes]) -> ClipSample:
    """The inverse of `encode_sample`."""
    meta = decode_meta(members[META])
    arrays = decode_arrays(members[ARRAYS])
    audio = decode_flac(members[AUDIO]) if AUDIO in members else None
    track = FaceTrack(**{name: arrays[name] for name in TRACK_ARRAYS})
    return ClipSample(meta, members[VIDEO], audio, track, arrays[NEUTRAL], arrays.get(EXPECTED))


def decode_meta(data: bytes) -> ClipMeta:
    """The json member; entries of later versions are passed over."""
    known = {field.name for field in dataclasses.fields(ClipMeta)}
    values: dict[str, Any] = {name: value for name, value in json.loads(data).items() if name in known}
    values["crop"] = tuple(values["crop"])
    return ClipMeta(**values)


def decode_arrays(data: bytes, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Arrays of the npz member: those named (and present), or all."""
    with np.load(io.BytesIO(data)) as stored:
        return {name: stored[name] for name in stored.files if names is None or name in names}


def _storable(array: np.ndarray) -> np.ndarray:
    array = np.asarray(array)
    return array.astype(np.bool_ if array.dtype == np.bool_ else np.float32, copy=False)
