"""A look into a data set: its samples as a table, and some of them as pictures with what was measured on them."""

from collections.abc import Sequence

import cv2
import numpy as np

from aniportrait.data.clip_codec import decode_frames
from aniportrait.data.shards import ShardEntry, ShardIndex, read_sample
from aniportrait.face.draw import draw_pose_image

CELL = 256
"""Pixels of a picture on the sheet, each way."""
STRIP = 40
"""Pixels below it, for its name and its sound."""
SHARES = (0.1, 0.5, 0.9)
"""Where in a clip the shown frames lie."""


def sample_table(index: ShardIndex) -> str:
    """A line for each sample, then sums."""
    rows = [("key", "split", "identity", "frames", "seconds", "sound", "MB", "shard")]
    for entry in index.samples:
        size = sum(size for _, size in entry.members.values()) / 1e6
        sound = "yes" if entry.has_audio else "-"
        seconds = f"{entry.frames / index.fps:.1f}"
        rows.append(
            (
                entry.key,
                entry.split,
                entry.identity,
                str(entry.frames),
                seconds,
                sound,
                f"{size:.1f}",
                entry.shard,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([*(line.rstrip() for line in lines), *_sums(index)])


def contact_sheet(index: ShardIndex, samples: int) -> np.ndarray:
    """(h, w, 3) uint8: a row for each of some samples, evenly spread; three frames, each with its landmarks laid over
    it, then the lines that the networks see in the middle one, and below them key, sound and frames without a face."""
    entries = index.samples
    chosen = np.unique(np.linspace(0, len(entries) - 1, min(samples, len(entries))).round().astype(int))
    if not len(chosen):
        raise ValueError(f"{index.folder} holds no sample to show")
    return np.concatenate([_row(entries[number], index) for number in chosen])


def _sums(index: ShardIndex) -> list[str]:
    lines = []
    for split in ("train", "val", "test"):
        entries = index.of_split(split)
        if entries:
            seconds = sum(entry.frames for entry in entries) / index.fps
            people = len({entry.identity for entry in entries})
            lines.append(f"{split}: {len(entries)} samples, {people} identities, {seconds:.0f} s")
    shards = len({entry.shard for entry in index.samples})
    return [
        "",
        *lines,
        f"{shards} shards of {index.image_size}x{index.image_size} pixels at {index.fps:g} fps",
    ]


def _row(entry: ShardEntry, index: ShardIndex) -> np.ndarray:
    sample = read_sample(index.folder, entry)
    frames = [round(share * (entry.frames - 1)) for share in SHARES]
    landmarks = sample.track.landmarks[frames]
    pictures = [
        _with_points(cv2.resize(picture, (CELL, CELL), interpolation=cv2.INTER_AREA), points)
        for picture, points in zip(decode_frames(sample.video, frames), landmarks, strict=True)
    ]
    drawn = draw_pose_image(landmarks[len(landmarks) // 2], CELL, CELL)
    row = np.concatenate([*pictures, drawn], axis=1)
    missing = int((~sample.track.valid).sum())
    words = f"{entry.key}  {entry.split}  {entry.identity}  {entry.frames / index.fps:.1f} s"
    words += f"  {missing} frames without a face" if missing else ""
    return np.concatenate((row, _strip(words, sample.audio, row.shape[1])))


def _with_points(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The picture with a dot at each landmark."""
    for x, y in np.rint(points[:, :2] * CELL).astype(int).tolist():
        cv2.circle(picture, (x, y), 1, (90, 255, 90), -1, cv2.LINE_AA)
    return picture


def _strip(words: str, audio: np.ndarray | None, width: int) -> np.ndarray:
    """Words on the left, the loudness of the sound on the right."""
    strip = np.full((STRIP, width, 3), 24, np.uint8)
    cv2.putText(strip, words, (8, 25), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (230, 230, 230), 1, cv2.LINE_AA)
    half = width // 2
    if audio is None:
        cv2.putText(
            strip, "no sound", (half + 8, 25), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (150, 150, 150), 1, cv2.LINE_AA
        )
        return strip
    peaks = _peaks(audio, width - half)
    for column, height in enumerate(peaks):
        middle, reach = STRIP // 2, round(height * (STRIP / 2 - 3))
        strip[middle - reach : middle + reach + 1, half + column] = (120, 180, 255)
    return strip


def _peaks(audio: np.ndarray, count: int) -> Sequence[float]:
    parts = np.array_split(np.abs(audio), count)
    return [float(part.max()) if len(part) else 0.0 for part in parts]
