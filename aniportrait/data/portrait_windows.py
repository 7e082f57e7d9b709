"""Clips -> frames with their landmarks drawn, and another frame of the clip as the portrait."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from aniportrait.data.augmentation import Augmentation
from aniportrait.data.clip_cache import ClipCache, check_lengths, readable
from aniportrait.data.clip_codec import decode_frames
from aniportrait.data.latents import Latents
from aniportrait.data.sample_codec import decode_arrays
from aniportrait.data.schema import ARRAYS, VIDEO, PortraitBatch
from aniportrait.data.shards import ShardEntry, read_member
from aniportrait.data.transforms import (
    box_around,
    fixed_reference,
    middle_window,
    random_reference,
    random_window,
    recoloured,
    resized,
)
from aniportrait.data.transport import Location
from aniportrait.face.draw import draw_pose_images
from aniportrait.face.topology import LIPS


class PortraitItem(NamedTuple):
    """One window of PortraitBatch, without the batch axis; the last of f + 1 pictures is the portrait.

    Shapes: pictures, drawn (f + 1, h, w, 3) uint8; face_box, mouth_box (f, 4); latents (f + 1, c, h/8, w/8) and
    image_embeds (1, d) float16, or None; `counted` is False where it only fills a batch up.
    """

    pictures: np.ndarray
    drawn: np.ndarray
    face_box: np.ndarray
    mouth_box: np.ndarray
    latents: np.ndarray | None
    image_embeds: np.ndarray | None
    key: str
    counted: bool = True


class PortraitWindows:
    """Frames of a clip, their landmarks drawn, and another frame of the clip as the portrait.

    Args:
        image_size: side of the pictures, pixels; stored pictures are resized to it.
        frames: how many frames make an item.
        strides: steps between frames to choose from, with equal chance.
        min_reference_gap: frames that lie at least between the portrait and every frame of the item, where
            the clip is long enough.
        cache_bytes: how much of what was read is kept in memory, in each process.
        keep_decoded: keep clips decoded, resized and drawn rather than compressed: for small pictures, of which a
            whole data set fits.
        augmentation: of random items.
        latents: folder of a data set -> latents that take the place of the pictures of random items, and come with
            those of fixed ones.
    """

    def __init__(
        self,
        image_size: int,
        frames: int,
        strides: Sequence[int],
        min_reference_gap: int,
        cache_bytes: int,
        keep_decoded: bool = False,
        augmentation: Augmentation | None = None,
        latents: Mapping[Location, Latents] | None = None,
    ):
        self.image_size, self.frames = image_size, frames
        self.strides, self.min_reference_gap = tuple(strides), min_reference_gap
        self.keep_decoded, self.augmentation, self.latents = keep_decoded, augmentation, latents
        self._cache = ClipCache(cache_bytes)

    def random(self, entry: ShardEntry, generator: np.random.Generator) -> PortraitItem:
        """A window and a portrait from anywhere in the clip."""
        clip = self._cache.clip(entry, self._read)
        frames = random_window(clip["valid"], self.frames, self.strides, generator)
        reference = random_reference(clip["valid"], frames, self.min_reference_gap, generator)
        wanted = [*frames.tolist(), reference]
        if self.latents is None and self.augmentation is not None:
            return self._changed(entry, clip, wanted, self.augmentation, generator)
        return self._item(entry, clip, wanted, pixels=self.latents is None)

    def fixed(self, entry: ShardEntry, number: int = 0) -> PortraitItem:
        """The window in the clip's middle, and the portrait farthest from it."""
        clip = self._cache.clip(entry, self._read)
        frames = middle_window(clip["valid"], self.frames)
        return self._item(
            entry, clip, [*frames.tolist(), fixed_reference(clip["valid"], frames)], pixels=True
        )

    def count(self, entry: ShardEntry) -> int:
        """How many fixed windows the clip has."""
        return 1

    @staticmethod
    def collate(items: Sequence[PortraitItem]) -> PortraitBatch:
        pictures, drawn = _pixels([item.pictures for item in items]), _pixels([item.drawn for item in items])
        latents = _stacked([item.latents for item in items])
        return PortraitBatch(
            frames=pictures[:, :-1],
            pose_image=drawn[:, :-1],
            reference_image=pictures[:, -1],
            reference_pose_image=drawn[:, -1],
            face_box=torch.from_numpy(np.stack([item.face_box for item in items])),
            mouth_box=torch.from_numpy(np.stack([item.mouth_box for item in items])),
            keys=[item.key for item in items],
            counted=torch.tensor([item.counted for item in items]),
            latents=None if latents is None else latents[:, :-1],
            reference_latents=None if latents is None else latents[:, -1],
            image_embeds=_stacked([item.image_embeds for item in items]),
        )

    def _item(self, entry: ShardEntry, clip: dict[str, Any], wanted: list[int], pixels: bool) -> PortraitItem:
        """As it is stored."""
        landmarks = clip["landmarks"][wanted]
        size = self.image_size
        pictures = np.empty((len(wanted), 0, 0, 3), np.uint8)
        if pixels:
            pictures = resized(self._stored(entry, clip, wanted), size)
        drawn = clip["drawn"][wanted] if self.keep_decoded else draw_pose_images(landmarks, size)
        latents, embeds = self._latents(entry, wanted)
        return PortraitItem(pictures, drawn, *_boxes(landmarks), latents, embeds, entry.key)

    def _changed(
        self,
        entry: ShardEntry,
        clip: dict[str, Any],
        wanted: list[int],
        augmentation: Augmentation,
        generator: np.random.Generator,
    ) -> PortraitItem:
        """Cut out, mirrored and recoloured, all pictures alike."""
        landmarks, pictures = clip["landmarks"][wanted], self._stored(entry, clip, wanted)
        geometry = augmentation.geometry(landmarks, pictures.shape[1], generator)
        pictures = geometry.of_pictures(pictures, self.image_size)
        pictures = recoloured(pictures, augmentation.colour_change, generator)
        landmarks = geometry.of_landmarks(landmarks)
        if self.keep_decoded and geometry.changes_nothing:
            drawn = clip["drawn"][wanted]
        else:
            drawn = draw_pose_images(landmarks, self.image_size)
        return PortraitItem(pictures, drawn, *_boxes(landmarks), None, None, entry.key)

    def _stored(self, entry: ShardEntry, clip: dict[str, Any], wanted: list[int]) -> np.ndarray:
        """The pictures as the clip holds them."""
        if "pictures" in clip:
            return clip["pictures"][wanted]
        return readable(entry, lambda: decode_frames(clip.get(VIDEO) or _video(entry), wanted))

    def _latents(self, entry: ShardEntry, wanted: list[int]) -> tuple[np.ndarray | None, np.ndarray | None]:
        return (None, None) if self.latents is None else self.latents[entry.folder].read(entry, wanted)

    def _read(self, entry: ShardEntry) -> dict[str, Any]:
        clip = decode_arrays(read_member(entry.folder, entry, ARRAYS), ("landmarks", "valid"))
        check_lengths(entry, clip, ("landmarks", "valid"))
        if self.keep_decoded:
            clip["drawn"] = draw_pose_images(clip["landmarks"], self.image_size)
        if self.latents is not None:  # only fixed items look at pictures
            return clip
        if not self.keep_decoded:
            return clip | {VIDEO: _video(entry)}
        pictures = decode_frames(_video(entry), range(entry.frames))
        return clip | {"pictures": resized(pictures, self.image_size)}


def _boxes(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Those of face and mouth in all frames but the last, the portrait."""
    return box_around(landmarks[:-1]), box_around(landmarks[:-1, LIPS])


def _video(entry: ShardEntry) -> bytes:
    return read_member(entry.folder, entry, VIDEO)


def _pixels(pictures: Sequence[np.ndarray]) -> Tensor:
    """(n, h, w, 3) each -> (b, n, 3, h, w) uint8, a view of the pictures' own memory if there is but one."""
    batch = pictures[0][None] if len(pictures) == 1 else np.stack(pictures)
    return torch.from_numpy(batch).permute(0, 1, 4, 2, 3)


def _stacked(arrays: Sequence[np.ndarray | None]) -> Tensor | None:
    """All of them, or None where there are none."""
    given = [array for array in arrays if array is not None]
    return torch.from_numpy(np.stack(given)) if given else None
