"""A few clips as shards, and batches of them."""

from drawn_clips import clip

from aniportrait.data.portrait_data import PortraitData
from aniportrait.data.shards import write_shards


def write_training_clips(path):
    """Seven clips to train on, one of them without sound, and two to validate, one longer than a window."""
    clips = [clip(f"t{k}", 12 + k, identity=f"p{k // 2}") for k in range(6)]
    clips += [clip("mute", 20, audio=False), clip("v0", 10, split="val"), clip("v1", 23, split="val")]
    write_shards(clips, path, 25.0, 32, clips_per_shard=2)
    return path


def batches(data, count, **changes):
    for name, value in changes.items():
        setattr(data, name, value)
    stream = iter(data.train_dataloader())
    return [data.on_after_batch_transfer(next(stream), 0) for _ in range(count)]


def portraits(folder, **options):
    return PortraitData(folder, **{"batch_size": 2, "image_size": 32, "seed": 5} | options)
