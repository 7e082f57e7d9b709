"""Which clips a validation looks at."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from aniportrait.data.schema import PortraitBatch
from aniportrait.training.callbacks.spread_clips import SpreadClips


def batch(first: int, count: int, filled: int = 0) -> PortraitBatch:
    numbers = torch.arange(first, first + count + filled).float()
    return PortraitBatch(
        frames=numbers[:, None, None, None, None],
        pose_image=numbers[:, None, None, None, None],
        reference_image=numbers[:, None, None, None],
        reference_pose_image=numbers[:, None, None, None],
        face_box=numbers[:, None, None],
        mouth_box=numbers[:, None, None],
        keys=[str(k) for k in range(first, first + count + filled)],
        counted=torch.arange(count + filled) < count,
    )


def taken(batches, count=4) -> PortraitBatch | None:
    clips, trainer = SpreadClips(count), SimpleNamespace(num_val_batches=[len(batches)])
    run: Any = trainer
    for number, part in enumerate(batches):
        clips.on_validation_batch_start(run, run, part, number)
    return clips.taken()


@pytest.mark.parametrize(
    ("batches", "keys"),
    [
        ([batch(0, 8)], "0 2 4 6"),
        ([batch(0, 8), batch(8, 8)], "0 4 8 12"),
        ([batch(k, 1) for k in range(8)], "1 3 5 7"),
        ([batch(k, 1) for k in range(3)], "0 1 2"),
        ([batch(0, 2), batch(2, 1, filled=1)], "0 1 2"),
    ],
)
def test_clips_lie_apart_whatever_the_size_of_batches_and_what_fills_up_is_none(batches, keys):
    chosen = taken(batches)
    assert chosen is not None
    assert chosen.keys == keys.split()
    assert chosen.frames.flatten().tolist() == [float(key) for key in chosen.keys]
    assert chosen.counted.all()
    assert chosen.latents is None


def test_a_rank_without_a_clip_has_none_and_a_validation_begins_anew():
    assert taken([batch(0, 0, filled=2)]) is None
    with pytest.raises(ValueError, match=r"^clips \(0\) must be at least 1$"):
        SpreadClips(0)
