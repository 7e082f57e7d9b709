"""Tiny clips for the tests of data: numbered pictures, faces at a known place, sound that says which clip it is."""

import numpy as np

from aniportrait.data.clip_codec import encode_clip
from aniportrait.data.schema import ClipMeta, ClipSample
from aniportrait.face.track import FaceTrack


def clip(
    key: str, frames: int = 6, audio: bool = True, split: str = "train", identity: str | None = None
) -> ClipSample:
    """Frame i has brightness 10 + 4 i, vertices i, a face box whose left edge is (10 + i) / 100, and sound i / 1000;
    frame 2 is not valid."""
    numbers = np.arange(frames)
    pictures = np.broadcast_to((10 + 4 * numbers)[:, None, None, None], (frames, 32, 32, 3)).astype(np.uint8)
    landmarks = np.random.default_rng(0).uniform(0.4, 0.8, (frames, 478, 3)).astype(np.float32)
    landmarks[:, 0, 0] = (10 + numbers) / 100
    vertices = np.broadcast_to(numbers[:, None, None], (frames, 468, 3)).astype(np.float32)
    pose_matrix = np.tile(np.eye(4, dtype=np.float32), (frames, 1, 1))
    pose_matrix[:, 0, 3] = numbers
    track = FaceTrack(landmarks, vertices, pose_matrix, np.zeros((frames, 52), np.float32), numbers != 2)
    sound = (np.repeat(numbers, 640) / 1000).astype(np.float32) if audio else None
    meta = ClipMeta(
        key=key,
        identity=identity or f"person-{key}",
        split=split,
        source=f"{key}.mp4",
        fps=25.0,
        frames=frames,
        width=32,
        height=32,
        has_audio=audio,
        crop=(0.0, 1.0, 2.0, 3.0),
    )
    return ClipSample(meta, encode_clip(pictures, 25.0), sound, track, np.full((468, 3), 0.5, np.float32))
