"""Writing checkpoints when the disk is full, when the process is killed."""

import resource

import pytest
import torch

from aniportrait.training.checkpoint_io import AtomicCheckpointIO


def test_a_full_disk_loses_the_new_checkpoint_and_not_the_old(tmp_path):
    """A limit on the size of files stands for the full disk: writes fail in the same place."""
    path, storage = tmp_path / "last.ckpt", AtomicCheckpointIO()
    storage.save_checkpoint({"step": 1}, path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OSError, match=r"last\.ckpt could not be written, what was there before still is"):
            storage.save_checkpoint({"step": 2, "weights": torch.zeros(1_000_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert torch.load(path, weights_only=True) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_dies_half_way_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path, storage = tmp_path / "last.ckpt", AtomicCheckpointIO()
    storage.save_checkpoint({"step": 1}, path)

    def dies(checkpoint, file):
        file.write(b"half a checkpo")
        raise SystemExit

    monkeypatch.setattr(torch, "save", dies)
    with pytest.raises(SystemExit):
        storage.save_checkpoint({"step": 2}, path)
    assert torch.load(path, weights_only=True) == {"step": 1}
