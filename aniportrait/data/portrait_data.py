"""Data for both steps of Lmk2Video."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aniportrait.data.augmentation import Augmentation
from aniportrait.data.datamodule import GIB, DataSetBuilder, ShardData
from aniportrait.data.latents import Latents, latents_of
from aniportrait.data.portrait_windows import PortraitWindows
from aniportrait.data.schema import PortraitBatch
from aniportrait.data.shards import ShardEntry
from aniportrait.data.transforms import signed_unit
from aniportrait.data.transport import Location


class PortraitData(ShardData):
    """Batches of PortraitBatch: frames with their landmarks drawn, and a portrait of the same person.

    Args:
        folder, batch_size, num_workers, seed, build, max_bad: see ShardData.
        image_size: side of the pictures, pixels.
        frames: frames of an item: 1 for stage 1, the motion window for stage 2; shorter clips are left out.
        strides: steps between frames to choose from, with equal chance.
        min_reference_gap: frames between the portrait and every frame of the item, if the clip is long enough.
        cache_bytes: how much video and landmarks each process keeps in memory.
        keep_decoded: keep pictures decoded and resized, landmarks drawn, rather than compressed video.
        flip_chance, smallest_crop, colour_change: of training items, frames and portrait alike; see Augmentation.
        train_share: part of each clip, from its beginning, that training items come from.
        latents: use latents that lie beside the shards, if `encoders` says what they must come from.

    `encoders`, which gives autoencoder and image encoder as LatentsOrigin names them, is for whoever builds the
    networks to set; it is asked where there are latents.
    """

    encoders: Callable[[], tuple[str, str]] | None = None

    def __init__(
        self,
        folder: Location | Sequence[Mapping[str, Any]],
        batch_size: int = 4,
        num_workers: int = 0,
        seed: int = 0,
        image_size: int = 256,
        frames: int = 1,
        strides: Sequence[int] = (1,),
        min_reference_gap: int = 8,
        build: DataSetBuilder | None = None,
        max_bad: int = 10,
        cache_bytes: int = GIB // 2,
        keep_decoded: bool = False,
        flip_chance: float = 0.0,
        smallest_crop: float = 1.0,
        colour_change: float = 0.0,
        train_share: float = 1.0,
        latents: bool = True,
    ):
        super().__init__(folder, batch_size, num_workers, seed, build, max_bad)
        if frames < 1 or not strides or min(strides) < 1 or min_reference_gap < 0 or image_size < 8:
            raise ValueError(
                f"frames ({frames}) and every stride ({list(strides)}) must be at least 1, min_reference_gap "
                f"({min_reference_gap}) not negative, image_size ({image_size}) at least 8"
            )
        if not 0 < train_share <= 1:
            raise ValueError(f"train_share ({train_share}) must be above 0 and at most 1")
        self.train_share = train_share
        self.image_size, self.frames, self.strides = image_size, frames, tuple(int(step) for step in strides)
        self.min_reference_gap, self.cache_bytes = min_reference_gap, cache_bytes
        self.keep_decoded, self.latents = keep_decoded, latents
        self.augmentation = Augmentation(flip_chance, smallest_crop, colour_change)

    def on_after_batch_transfer(self, batch: PortraitBatch, dataloader_idx: int) -> PortraitBatch:
        """Pixels become numbers where the networks are: a quarter of the bytes travels, and no loader computes."""
        names = ("frames", "pose_image", "reference_image", "reference_pose_image")
        return batch._replace(**{name: signed_unit(getattr(batch, name)) for name in names})

    def _windows(self) -> PortraitWindows:
        return PortraitWindows(
            self.image_size,
            self.frames,
            self.strides,
            self.min_reference_gap,
            self.cache_bytes,
            self.keep_decoded,
            self.augmentation,
            self._latents(),
            self.train_share,
        )

    def _latents(self) -> dict[Location, Latents] | None:
        """Those of every data set, if they have any and it is known who will look at them."""
        if not self.latents or self.encoders is None:
            return None
        return latents_of(
            self.indexes, self.encoders, self.image_size, unchanged=not self.augmentation.changes_pixels
        )

    def _suits(self, entry: ShardEntry) -> bool:
        return int(entry.frames * (self.train_share if entry.split == "train" else 1.0)) >= self.frames

    def _unsuited(self) -> str:
        return f"are shorter than {self.frames} frames and are left out"
