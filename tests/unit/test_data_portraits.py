"""Batches for both steps of Lmk2Video: which frames of a clip they show, and with what."""

import numpy as np
import pytest
import torch
from drawn_clips import clip
from training_clips import batches, portraits, write_training_clips

from aniportrait.face.topology import LIPS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_training_clips(tmp_path_factory.mktemp("shards"))


def test_a_portrait_batch_shows_the_frames_whose_landmarks_it_draws(folder):
    data = portraits(folder, frames=4, strides=(1, 3))
    for batch in batches(data, 6):
        assert batch.frames.shape == batch.pose_image.shape == (2, 4, 3, 32, 32)
        assert batch.reference_image.shape == batch.reference_pose_image.shape == (2, 3, 32, 32)
        numbers = ((batch.frames.mean(dim=(2, 3, 4)) + 1) * 127.5 - 10) / 4
        from_boxes = batch.face_box[..., 0] * 100 - 10
        torch.testing.assert_close(numbers, from_boxes, atol=0.4, rtol=0)
        steps = set((numbers.round()[:, 1:] - numbers.round()[:, :-1]).flatten().int().tolist())
        assert steps <= {1, 2, 3}
        assert 2 not in numbers.round().int(), "no window holds the frame without a face"
        assert batch.pose_image.max() > 0.5
        assert batch.pose_image.min() == -1


def test_a_frame_comes_with_the_box_of_its_lips(folder):
    landmarks = clip("any", 30).track.landmarks  # the same in every clip
    for batch in batches(portraits(folder, frames=3), 6):
        numbers = (((batch.frames.mean(dim=(2, 3, 4)) + 1) * 127.5 - 10) / 4).round().long()
        lips = landmarks[numbers][..., LIPS, :2]
        boxes = np.concatenate((lips.min(axis=2), lips.max(axis=2)), axis=2)
        np.testing.assert_allclose(batch.mouth_box, boxes, atol=1e-6)


def test_the_portrait_keeps_its_distance_from_the_frames(folder):
    for batch in batches(portraits(folder, frames=3, min_reference_gap=3), 6):
        numbers = ((batch.frames.mean(dim=(2, 3, 4)) + 1) * 127.5 - 10) / 4
        reference = ((batch.reference_image.mean(dim=(1, 2, 3)) + 1) * 127.5 - 10) / 4
        assert ((reference[:, None] - numbers).abs().min(dim=1).values > 2.5).all()
        assert (reference - 2).abs().min() > 0.5, "the frame without a face is no portrait"


def test_training_leaves_the_end_of_every_clip_unseen_where_it_is_told_to(folder):
    """Clips have 12 to 20 frames; frame k is of colour 10 + 4 k."""

    def last_part_of(share):
        data = portraits(folder, train_share=share, min_reference_gap=0, batch_size=1)
        length = {entry.key: entry.frames for entry in data.indexes[0].samples}
        seen = []
        for batch in batches(data, 60):
            pictures = torch.cat([batch.frames[0], batch.reference_image])
            numbers = ((pictures.mean(dim=(1, 2, 3)) + 1) * 127.5 - 10) / 4
            seen.append((numbers.max() / length[batch.keys[0]]).item())
        return max(seen)

    assert last_part_of(1.0) > 0.9
    assert last_part_of(0.5) < 0.5


def test_clips_whose_seen_part_is_shorter_than_a_window_are_left_out(folder):
    """Training clips have 12 to 17 and 20 frames, validation clips 10 and 23, which are seen whole."""
    data = portraits(folder, frames=8, train_share=0.5)
    assert {key for batch in batches(data, 12) for key in batch.keys} == {"t4", "t5", "mute"}
    validation = portraits(folder, frames=20, train_share=0.5).val_dataloader()
    assert {key for batch in validation for key in batch.keys} == {"v1"}


def test_portraits_come_at_the_size_asked_for(folder):
    assert batches(portraits(folder, image_size=24), 1)[0].frames.shape == (2, 1, 3, 24, 24)
    assert batches(portraits(folder, image_size=64), 1)[0].pose_image.shape == (2, 1, 3, 64, 64)


def test_validation_of_portraits_takes_every_clip_once(folder):
    keys = [key for batch in portraits(folder).val_dataloader() for key in batch.keys]
    assert keys == ["v0", "v1"]
