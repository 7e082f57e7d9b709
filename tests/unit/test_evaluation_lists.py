"""Protocols and their frozen lists of clips: every one composes, no list changes, and its ids find the clips."""

import hashlib
import json
import re
import shutil

import pytest
from entries import CONF, composed
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from aniportrait.cli import schema
from aniportrait.data.celebvhq import CelebVHQSource
from aniportrait.data.hdtf import HDTFSource
from aniportrait.data.listed_clips import clips_of_sources
from aniportrait.data.schema import key_of_title
from aniportrait.data.shards import ShardEntry
from aniportrait.data.vfhq import NAME, VFHQSource

PROTOCOLS = sorted(file.stem for file in (CONF / "metrics").glob("*.yaml") if file.stem != "all")
TASKS = ("self_reenactment", "cross_identity", "audio_driven")
FROZEN = {
    "celebvhq_1": (50, "e3a2e45adc60001f04c2c3bd5ca5bafa4ef90a9ca36f7e803080931daef4116f"),
    "hdtf_1": (30, "20e0c86698c3c4b8376529039454bfee64a62d2fe97dfb7564e25cec3b6314ac"),
    "hdtf_gagavatar_1": (19, "22a392cc46c4f3be76606be48a7224f0a54e89c539e5874a4cb58969ee862dac"),
    "vfhq_1": (50, "e85edeeef552f16dca70e63b7cfed9fbcd2c91563831440dbabd88f8c9a74a82"),
}
"""List -> (ids, SHA-256 of them, each on its line). Another choice of clips is another list under a new number."""


def listed(name: str) -> list[str]:
    content = OmegaConf.load(CONF / "metrics" / "lists" / f"{name}.yaml")
    assert content.list == name
    return list(content.sources)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture(scope="module")
def conf(tmp_path_factory):
    """The configs, with a single metric, so that it is seen where it lands."""
    folder = shutil.copytree(CONF, tmp_path_factory.mktemp("lists") / "conf")
    (folder / "metrics" / "all.yaml").write_text("some_metric: {weights: null}\n")
    schema.register()
    return folder


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_brings_all_metrics_and_says_which_clips_and_how(conf, name):
    with initialize_config_dir(str(conf), version_base="1.3"):
        config = compose("evaluate", overrides=[f"metrics={name}", "metrics.some_metric.weights=w"])
    assert config.metrics == {"some_metric": {"weights": "w"}}
    protocol = OmegaConf.to_container(config.protocol)
    assert set(protocol) == {"name", "version", "task", "list", "sources", "clips_per_source", "seconds"}
    assert protocol["name"] == name
    assert protocol["task"] in TASKS
    assert (protocol["version"], protocol["seconds"]) == (
        1,
        8.0 if protocol["task"] == "audio_driven" else 4.0,
    )
    if protocol["list"] is None:
        assert (name, protocol["sources"], protocol["clips_per_source"]) == (protocol["task"], None, None)
    else:
        assert name == f"{protocol['list'].removesuffix('_1')}_{protocol['task']}"
        assert (protocol["sources"], protocol["clips_per_source"]) == (listed(protocol["list"]), 1)


def test_without_a_protocol_there_is_none():
    with composed("evaluate") as config:
        assert config.protocol is None


def test_a_protocol_can_be_changed_on_the_command_line():
    change = ("metrics=hdtf_self_reenactment", "protocol.seconds=1", "protocol.sources=[a]")
    with composed("evaluate", *change) as config:
        assert (config.protocol.seconds, list(config.protocol.sources)) == (1, ["a"])


def test_every_list_is_frozen():
    lists = {file.stem: listed(file.stem) for file in (CONF / "metrics" / "lists").glob("*.yaml")}
    assert {name: (len(ids), digest("\n".join(ids))) for name, ids in lists.items()} == FROZEN


@pytest.mark.parametrize(
    ("name", "form", "whose"),
    [
        ("hdtf_1", r"(?P<person>RD_Radio\d+|(WDA|WRA)_[A-Za-z-]+)\d*_0", "person"),
        ("hdtf_gagavatar_1", r"(?P<person>(WDA|WRA)_[A-Za-z-]+)\d*_0", "person"),
        ("celebvhq_1", r"(?P<video>[\w-]{11})(_\d+){1,2}", "video"),
        ("vfhq_1", NAME, "video"),
    ],
)
def test_a_list_has_one_clip_of_each_and_ours_are_in_the_order_of_their_hashes(name, form, whose):
    ids = listed(name)
    matches = [re.fullmatch(form, one) for one in ids]
    assert None not in matches
    assert len({match[whose] for match in matches if match}) == len(ids)
    assert name == "hdtf_gagavatar_1" or ids == sorted(ids, key=digest)


def entry(key: str, source: str = "video") -> ShardEntry:
    return ShardEntry(key, "person", "test", source, 100, True, "shard-000000.tar", {})


def keys(entries) -> list[str]:
    return [entry.key for entry in entries]


def test_clips_are_found_in_the_lists_order_and_missing_ones_are_named():
    entries = [entry("a_0", "a"), entry("b_0", "b"), entry("c_0", "c")]
    found, missing = clips_of_sources(entries, ["c_0", "nowhere", "a_0", "gone_0"])
    assert (keys(found), missing) == (["c_0", "a_0"], ("nowhere", "gone_0"))


def test_a_title_gives_all_its_pieces_in_order_and_no_longer_titles():
    entries = [entry(f"RD_Radio1_0--{number}") for number in (10, 2, 1)] + [entry("RD_Radio1_01")]
    assert keys(clips_of_sources(entries, ["RD_Radio1_0"]).found) == [
        "RD_Radio1_0--1",
        "RD_Radio1_0--2",
        "RD_Radio1_0--10",
    ]
    assert keys(clips_of_sources(entries, ["RD_Radio1_0"], 1).found) == ["RD_Radio1_0--1"]
    assert clips_of_sources(entries, ["RD_Radio1"]) == ((), ("RD_Radio1",))


def test_a_recording_gives_all_its_clips_unless_a_clip_is_called_so():
    """abc_1 is clip 1 of the video abc, and the name of another video, as in CelebV-HQ."""
    entries = [entry("abc_1", "abc"), entry("abc_2", "abc"), entry("abc_1_0", "abc_1")]
    assert keys(clips_of_sources(entries, ["abc"]).found) == ["abc_1", "abc_2"]
    assert keys(clips_of_sources(entries, ["abc_1"]).found) == ["abc_1"]
    assert keys(clips_of_sources(entries, ["abc", "abc_2"]).found) == ["abc_1", "abc_2"], "no clip twice"
    assert keys(clips_of_sources(entries, None).found) == ["abc_1", "abc_2", "abc_1_0"]
    assert keys(clips_of_sources(entries, None, 1).found) == ["abc_1", "abc_1_0"]


def test_a_list_that_names_a_source_twice_is_refused():
    with pytest.raises(ValueError, match="names a twice"):
        clips_of_sources([entry("a")], ["a", "b", "a"])
    with pytest.raises(ValueError, match=r"clips_per_source \(0\)"):
        clips_of_sources([entry("a")], ["a"], 0)


def sources_of(tmp_path):
    """The three sets as published, with one listed clip each, and beside it one that is not listed."""
    files = tmp_path / "clips"
    files.mkdir()
    tables = tmp_path / "tables"
    tables.mkdir()
    (tables / "WDA_annotion_time.txt").write_text("AmyKlobuchar1.mp4 00:10-00:30 00:40-00:50\n")
    (tables / "WDA_video_url.txt").write_text("AmyKlobuchar1 https://www.youtube.com/watch?v=abcdefghijk\n")
    (files / "AmyKlobuchar1_0.mp4").touch()
    yield "hdtf_1", HDTFSource(tables, files)
    info = tmp_path / "celebvhq_info.json"
    box = {"top": 0, "bottom": 1, "left": 0, "right": 1}
    some = {"ytb_id": "98SbTUL9KSI", "duration": {"start_sec": 1, "end_sec": 4}, "bbox": box}
    info.write_text(json.dumps({"clips": {"98SbTUL9KSI_1_0": some, "98SbTUL9KSI_2_0": some}}))
    (files / "98SbTUL9KSI_1_0.mp4").touch()
    yield "celebvhq_1", CelebVHQSource(info, files)
    meta = tmp_path / "meta"
    meta.mkdir()
    for title in ("Clip+--CQLmI7dUI+P0+C0+F10494-10844", "Clip+--CQLmI7dUI+P0+C1+F20494-20844"):
        (meta / f"{title}.txt").write_text("H 720\nW 1280\nFPS 25\nCROP 0 0 10 10\n")
    (files / "Clip+--CQLmI7dUI+P0+C0.mp4").touch()
    yield "vfhq_1", VFHQSource(meta, files)


def test_the_ids_are_what_the_sources_call_their_clips(tmp_path):
    for name, source in sources_of(tmp_path):
        clips = source.clips()
        entries = [entry(key_of_title(clip.title), clip.recording) for clip in clips]
        found, missing = clips_of_sources(entries, listed(name))
        assert (len(clips), len(found), len(missing)) == (2, 1, len(listed(name)) - 1), name
