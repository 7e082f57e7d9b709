"""Lists of clips: every file, every person in one split, and what is missing named."""

import os
from collections import Counter
from pathlib import Path

import pytest

from aniportrait.data.folder import FolderSource
from aniportrait.data.sources import FaceBox, SourceClip, SourceError, with_splits


def folder_with(path: Path, *names: str) -> Path:
    path.mkdir(exist_ok=True)
    for name in names:
        (path / name).write_bytes(b"x")
    return path


def test_videos_are_listed_by_name_and_nothing_else(tmp_path):
    folder = folder_with(
        tmp_path / "my clips (1)", "b.MP4", "a (2).mov", "c.webm", "notes.txt", ".d.mp4", "e.mkv"
    )
    (folder / "sub.mp4").mkdir()
    clips = FolderSource(folder).clips()
    assert [clip.path.name for clip in clips] == ["a (2).mov", "b.MP4", "c.webm", "e.mkv"]
    assert [clip.identity for clip in clips] == [clip.path.name for clip in clips]


def test_a_missing_an_empty_and_a_wrong_folder_say_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        FolderSource(tmp_path / "nowhere").clips()
    with pytest.raises(SourceError, match=r"holds no video \(\.mp4"):
        FolderSource(tmp_path).clips()
    with pytest.raises(SourceError, match="is not a folder"):
        FolderSource(folder_with(tmp_path, "a.mp4") / "a.mp4").clips()


def test_a_table_says_who_is_who(tmp_path):
    folder = folder_with(tmp_path, "a.mp4", "b.mp4", "c.mp4", "unlisted.mp4")
    table = tmp_path / "table.csv"
    table.write_text('identity,file,note,split\np1,a.mp4,"a, b",train\np1,b.mp4,,\n,c.mp4,,val\n')
    assert FolderSource(folder, table).clips() == [
        SourceClip(folder / "a.mp4", "p1", "train", video="a.mp4"),
        SourceClip(folder / "b.mp4", "p1", "train", video="b.mp4"),
        SourceClip(folder / "c.mp4", "c.mp4", "val", video="c.mp4"),
    ]


def test_blanks_capitals_and_empty_lines_of_a_table_do_not_count(tmp_path):
    """Unnoticed, a column of persons would be passed over, and a person be in two splits."""
    folder = folder_with(tmp_path, "a.mp4", "b.mp4")
    table = tmp_path / "table.csv"
    table.write_text("file, Identity ,SPLIT\na.mp4, p1, train\n\n./b.mp4,p1,train\n")
    first, second = FolderSource(folder, table).clips()
    assert (first.identity, first.split, second.identity, second.split) == ("p1", "train", "p1", "train")
    assert second.recording == "b.mp4"
    table.write_text("file,split\na.mp4,train\n\nb.mp4,else\n")
    with pytest.raises(SourceError, match="line 4: split 'else'"):
        FolderSource(folder, table).clips()


def test_a_name_that_is_no_utf_8_is_an_identity_like_others(tmp_path):
    folder = folder_with(tmp_path, "a.mp4", os.fsdecode(b"caf\xe9.mp4"), "c.mp4", "d.mp4")
    assert {clip.split for clip in FolderSource(folder).clips()} <= {"train", "val", "test"}


def test_a_table_may_name_sections_of_one_recording(tmp_path):
    folder = folder_with(tmp_path, "a.mp4")
    table = tmp_path / "table.csv"
    table.write_text("file,begin,end,video\na.mp4,,3,tape\na.mp4,4.5,9,tape\na.mp4,20,,tape\n")
    clips = FolderSource(folder, table).clips()
    assert [(clip.title, clip.begin, clip.end) for clip in clips] == [
        ("a-0s", 0.0, 3.0), ("a-4.5s", 4.5, 9.0), ("a-20s", 20.0, None),
    ]  # fmt: skip
    assert {clip.recording for clip in clips} == {"tape"}
    assert len({clip.split for clip in clips}) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("file\na.mp4\nz.mp4\ny.mp4\n", r"names 2 files that .* does not hold: z\.mp4, y\.mp4"),
        ("name\na.mp4\n", "no column called file"),
        ("file\n", "names no file"),
        ("file,split\na.mp4,training\n", r"line 2: split 'training' must be one of train, val, test"),
        ("file\na.mp4\na.mp4\n", r"names a\.mp4 more than once"),
        ("file,identity,split\na.mp4,p,train\nb.mp4,p,val\n", "identity p is in two splits, train and val"),
        ("file,begin\na.mp4,soon\n", "line 2: begin 'soon' must be seconds"),
        ("file,begin,end\na.mp4,5,4\n", r"line 2: clip a-5s: 5 to 4\.0 s is no section"),
        (
            "file,identity,video,split\na.mp4,p,v,train\nb.mp4,q,v,val\n",
            r"a \(identity p, recording v\) and b \(identity q, recording v\) belong together .* two splits",
        ),
    ],
)
def test_a_bad_table_says_what_is_wrong(tmp_path, text, says):
    folder = folder_with(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises((SourceError, FileNotFoundError), match=says):
        FolderSource(folder, tmp_path / "table.csv").clips()


def test_splits_are_by_identity_and_about_eight_to_one_to_one():
    clips = [SourceClip(Path(f"{k}.mp4"), f"p{k // 3}") for k in range(300)]
    split = with_splits(clips)
    assert all(split[k].split == split[k - k % 3].split for k in range(300))
    assert Counter(clip.split for clip in split[::3]) == {"train": 80, "val": 10, "test": 10}
    assert with_splits(clips[::-1]) == split[::-1], "the order of the clips is of no account"


@pytest.mark.parametrize(
    ("count", "splits"), [(1, ["train"]), (2, ["train", "val"]), (3, ["test", "train", "val"])]
)
def test_few_identities_still_fill_the_splits(count, splits):
    clips = with_splits([SourceClip(Path(f"{k}.mp4"), f"p{k}") for k in range(count)])
    assert sorted(str(clip.split) for clip in clips) == splits


def test_people_and_recordings_that_hang_together_share_a_split():
    """a and b are one person, b and c are one recording, so a, b and c are one group."""
    clips = [
        SourceClip(Path("a.mp4"), "p", video="tape 1"),
        SourceClip(Path("b.mp4"), "p", video="tape 2"),
        SourceClip(Path("c.mp4"), "q", video="tape 2"),
    ] + [SourceClip(Path(f"{k}.mp4"), f"r{k}", video=f"tape r{k}") for k in range(40)]
    split = with_splits(clips)
    assert len({clip.split for clip in split[:3]}) == 1
    assert {clip.split for clip in split} == {"train", "val", "test"}
    chosen = with_splits([*clips, SourceClip(Path("d.mp4"), "q", "test", video="tape 9")])
    assert {clip.split for clip in chosen[:3]} == {"test"}, "one clip's split is the group's"


def test_a_box_scales_with_the_picture():
    box = FaceBox(100, 50, 300, 250, height=720, width=1280)
    assert box.in_picture(640, 360) == (50, 25, 150, 125)
    assert FaceBox(100, 50, 300, 250, height=720).in_picture(960, 1440) == (200, 100, 600, 500), (
        "by height alone"
    )
    assert FaceBox(0.25, 0.0, 0.5, 1.0, 1.0, 1.0).in_picture(400, 200) == (100, 0, 200, 200)
    with pytest.raises(ValueError, match="must span some area"):
        FaceBox(5, 0, 5, 9, 100)
