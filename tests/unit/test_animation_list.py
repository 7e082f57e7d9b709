"""A list names settings in its header; its rows keep their types and look for files beside the list."""

from pathlib import Path

import pytest

from aniportrait.cli.animation_list import read_list


def rows(folder: Path, text: str, **kwargs):
    file = folder / "list.csv"
    file.write_text(text, **({"encoding": "utf-8"} | kwargs))
    return read_list(file, Path("made"))


def test_cells_have_the_types_of_their_settings_and_empty_ones_are_left_to_the_command(tmp_path):
    first, second = rows(
        tmp_path,
        "portrait,audio,head_pose,seed,expression,paste_back,out\n"
        '"a, b.png",voices/v.wav,still,7,0.5,true,first.mp4\n'
        "b.png,/far/v.wav,nod.npz,,,False,\n",
        encoding="utf-8-sig",
    )
    assert first.settings == {
        "portrait": tmp_path / "a, b.png",
        "audio": tmp_path / "voices/v.wav",
        "head_pose": "still",
        "seed": 7,
        "expression": 0.5,
        "paste_back": True,
    }
    assert first.out == Path("made/first.mp4")
    assert second.settings["audio"] == Path("/far/v.wav")
    assert second.settings["head_pose"] == tmp_path / "nod.npz"
    assert "seed" not in second.settings
    assert second.out == Path("made/b_v.mp4")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("portrait,colour\na.png,red\n", "has the column 'colour'"),
        ("portrait,seed\na.png,many\n", "row 1: seed=many must be a whole number"),
        ("portrait,expression\na.png,strong\n", "row 1: expression=strong must be a number"),
        ("portrait,label\na.png,maybe\n", "row 1: label=maybe must be true or false"),
        ("portrait,seed\na.png\n", "row 1 has not as many cells as the header"),
        ("portrait,seed\na.png,1,2\n", "row 1 has not as many cells as the header"),
        ("portrait,out\na.png,o.mp4\nb.png,o.mp4\n", "more than once"),
        ("portrait,audio\n", "no rows"),
        ("", "no rows"),
    ],
)
def test_a_list_that_cannot_be_followed_says_where(tmp_path, text, words):
    with pytest.raises(ValueError, match=words):
        rows(tmp_path, text)


def test_a_list_in_another_encoding_is_refused(tmp_path):
    with pytest.raises(ValueError, match="UTF-8"):
        rows(tmp_path, "portrait\nBjörn.png\n", encoding="latin-1")
