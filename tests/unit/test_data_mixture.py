"""Several data sets as one: shares by weight, people and recordings kept apart."""

import dataclasses
import itertools

import pytest
from drawn_clips import clip

from aniportrait.data.shards import write_shards
from aniportrait.data.speech_data import SpeechData


def test_several_data_sets_are_mixed_by_weight_and_their_people_kept_apart(tmp_path):
    for name, count in (("a", 3), ("b", 2)):
        clips = [clip(f"{name}{k}", 12, identity="p") for k in range(count)]
        write_shards([*clips, clip(f"v{name}", 6, split="val")], tmp_path / name, 25.0, 32)
    folders = [{"folder": tmp_path / "a", "weight": 0.7}, {"folder": tmp_path / "b", "weight": 0.3}]
    data = SpeechData(folders, batch_size=50, window_frames=6)
    assert data.identities == ("0/p", "1/p")
    batches = list(itertools.islice(iter(data.train_dataloader()), 20))
    keys = [key for batch in batches for key in batch.keys]
    assert sum(key.startswith("a") for key in keys) == 700
    for batch in batches:
        assert batch.identity.tolist() == [int(key.startswith("b")) for key in batch.keys]
    assert [key for batch in data.val_dataloader() for key in batch.keys] == ["va", "vb"]


def test_a_recording_that_one_set_holds_out_trains_nothing_in_a_mixture(tmp_path, caplog):
    def of(recording, key, split="train"):
        drawn = clip(key, 12, split=split)
        return dataclasses.replace(drawn, meta=dataclasses.replace(drawn.meta, source=recording))

    write_shards([of("film", "a0"), of("other", "a1")], tmp_path / "a", 25.0, 32)
    write_shards([of("third", "b0"), of("film", "b1", "val")], tmp_path / "b", 25.0, 32)
    data = SpeechData(
        [{"folder": tmp_path / name, "weight": 1} for name in "ab"], batch_size=2, window_frames=6
    )
    batches = itertools.islice(iter(data.train_dataloader()), 20)
    assert {key for batch in batches for key in batch.keys} == {"a1", "b0"}
    assert (
        "1 of 2 train clips are left out, because another data set holds their recording out" in caplog.text
    )
    assert f"clip a0 is of film, which {tmp_path / 'b'} holds out" in caplog.text


def test_files_of_one_name_in_two_sets_are_two_recordings(tmp_path, caplog):
    for name in "ab":
        train, val = ("000.mp4", "001.mp4") if name == "a" else ("001.mp4", "000.mp4")
        clips = [(f"{name}0", train, "train"), (f"{name}1", val, "val")]
        drawn = [(clip(key, 12, split=split), source) for key, source, split in clips]
        write_shards(
            [dataclasses.replace(c, meta=dataclasses.replace(c.meta, source=source)) for c, source in drawn],
            tmp_path / name, 25.0, 32,
        )  # fmt: skip
    folders = [{"folder": tmp_path / name, "weight": 1} for name in "ab"]
    data = SpeechData(folders, batch_size=2, window_frames=6)
    batches = itertools.islice(iter(data.train_dataloader()), 20)
    assert {key for batch in batches for key in batch.keys} == {"a0", "b0"}
    assert "left out" not in caplog.text


def test_data_sets_of_several_rates_cannot_be_mixed(tmp_path):
    write_shards([clip("a")], tmp_path / "a", 25.0, 32)
    text = (tmp_path / "a" / "index.json").read_text()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "index.json").write_text(text.replace('"fps": 25.0', '"fps": 30.0'))
    parts = [{"folder": tmp_path / name, "weight": 1} for name in "ab"]
    with pytest.raises(ValueError, match=r"\[25\.0, 30\.0\] fps cannot be mixed"):
        SpeechData(parts).train_dataloader()
