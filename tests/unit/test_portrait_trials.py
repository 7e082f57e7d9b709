"""Which frames are scored: a reference of the first four fifths, a target of the last, by the clip's name alone."""

import logging

import numpy as np
import pytest
import torch
from drawn_clips import clip
from omegaconf import OmegaConf

from aniportrait.cli.evaluate_frames import SystemScores, score_clip
from aniportrait.cli.portrait_trials import (
    held_out_from,
    pairs_of_clips,
    warn_of_trained_frames,
    window_of_clip,
)
from aniportrait.data.shards import ShardIndex, ShardWriter
from aniportrait.face.track import FaceTrack


def index_of(folder, *clips):
    with ShardWriter(folder, fps=25.0, image_size=32) as writer:
        for sample in clips:
            writer.write(sample)
    return ShardIndex.load(folder)


def config(**settings):
    defaults = {"seed": 42, "split": "train", "pairs_per_clip": 1, "sampling_seeds": 2}
    return OmegaConf.create(defaults | settings)


@pytest.mark.parametrize(("frames", "first"), [(125, 100), (335, 268), (6, 5), (73, 59), (52, 42)])
def test_the_last_fifth_begins_where_four_fifths_end(frames, first):
    assert held_out_from(frames) == first
    assert first >= int(0.8 * frames), "a training on the first int(0.8 f) frames has not seen it"


def test_a_reference_is_of_the_first_four_fifths_and_a_target_of_the_rest(tmp_path):
    index = index_of(tmp_path / "shards", *(clip(f"clip-{number}", frames=20) for number in range(12)))
    pairs = [pair for pairs in pairs_of_clips(index, config(pairs_per_clip=3)) for pair in pairs]
    references, targets = {pair.reference for pair in pairs}, {int(pair.frames[0]) for pair in pairs}
    assert len(pairs) == 36
    assert references <= set(range(16)) - {2}, "frame 2 shows no face"
    assert len(references) > 5
    assert targets == {16, 17, 18, 19}


def test_pairs_and_noises_hang_on_the_clips_name_and_not_on_its_company(tmp_path):
    alone = index_of(tmp_path / "alone", clip("b", frames=20))
    among = index_of(tmp_path / "among", clip("a", frames=20), clip("b", frames=20), clip("c", frames=20))
    (own,), *_ = pairs_of_clips(alone, config())
    every = {pairs[0].sample.meta.key: pairs[0] for pairs in pairs_of_clips(among, config())}
    same = every["b"]
    assert (own.reference, own.frames.tolist(), own.seeds) == (
        same.reference,
        same.frames.tolist(),
        same.seeds,
    )
    assert len({seed for pair in every.values() for seed in pair.seeds}) == 6


def test_a_clip_without_a_face_in_its_last_fifth_is_left_out_and_said(tmp_path, caplog):
    faceless = clip("short", frames=3)  # its last fifth is frame 2, which shows no face
    index = index_of(tmp_path / "shards", faceless, clip("a", frames=20), clip("b", frames=20))
    assert len(pairs_of_clips(index, config())) == 2
    assert "1 of 3 clips have no face" in caplog.text
    with pytest.raises(ValueError, match="no clip of split=train"):
        pairs_of_clips(index_of(tmp_path / "other", faceless), config())


def test_a_training_clips_window_lies_in_its_last_fifth_and_another_clips_at_its_end(tmp_path):
    index = index_of(
        tmp_path / "shards",
        *(clip(f"{split}-{n}", frames=n, split=split) for split in ("train", "val") for n in (79, 80)),
    )
    windows = {
        entry.key: window_of_clip(index, entry, 16, config(split=entry.split)) for entry in index.samples
    }
    assert windows["train-79"] is None, "its last fifth has 15 frames"
    for key, last in (("train-80", 80), ("val-79", 79)):
        trial = windows[key]
        assert trial is not None
        assert trial.frames.tolist() == list(range(last - 16, last))
        assert trial.reference < last - 16


def test_weights_that_may_have_seen_the_scored_frames_are_named(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    (tmp_path / "config.yaml").write_text("data: {train_share: 0.8}\n", encoding="utf-8")
    warn_of_trained_frames(str(tmp_path))
    assert not caplog.text
    (tmp_path / "config.yaml").write_text("data: {folder: shards}\n", encoding="utf-8")
    warn_of_trained_frames(str(tmp_path))
    assert "was not trained with data.train_share=0.8" in caplog.text


def points(shift):
    """(1, 478, 3) landmarks, one face moved by `shift`."""
    return (
        torch.from_numpy(np.random.default_rng(0).uniform(0.3, 0.6, (1, 478, 3)).astype(np.float32)) + shift
    )


def picture(shift):
    """(1, 3, 16, 16): its brightness says where `detect` finds the face; above 0.9 there is none."""
    return torch.full((1, 3, 16, 16), shift)


def detect(frames):
    shift = float(frames[0, 0, 0, 0])
    return FaceTrack(
        points(shift).numpy(),
        np.zeros((1, 468, 3), np.float32),
        np.eye(4, dtype=np.float32)[None],
        np.zeros((1, 52), np.float32),
        np.array([shift < 0.9]),
    )


def test_samples_are_held_against_their_own_landmarks_and_the_references_against_the_same():
    """Driving landmarks lie at 0.2 (ours) and 0.4 (next); samples at half of the way, the reference at 0."""
    made = {
        "ours": torch.stack((picture(0.1), picture(0.1))),
        "next": torch.stack((picture(0.3), picture(0.95))),
        "copy": picture(0.0)[None],
        "truth": picture(0.2)[None],
    }
    systems = {name: SystemScores() for name in made}
    score_clip(systems, made, picture(0.2), {"ours": points(0.2), "next": points(0.4)}, detect)
    assert systems["ours"].frames.score("face_l1").value == pytest.approx(0.05)
    assert systems["ours"].frames.score("face_l1").per_seed == pytest.approx((0.05, 0.05))
    ratios = {
        name: scores.faces.ratio("landmark_distance", scores.reference_faces)
        for name, scores in systems.items()
    }
    assert ratios["ours"] == pytest.approx(0.5, rel=1e-3)
    assert ratios["next"] == pytest.approx(0.25, rel=1e-3), "one of its two samplings shows no face"
    assert ratios["copy"] == pytest.approx(1.0)
    assert ratios["truth"] == pytest.approx(0.0)
    assert [suite.missing for suite in systems["next"].faces.suites] == [0, 1]
