"""The page about a preparation shows what was kept, what was dropped and why."""

import pytest
from bright_faces import bright_faces, dark, face, preparation, tone

from aniportrait.cli.preparation_report import _kind, write_preparation_report
from aniportrait.data.media import write_video
from aniportrait.data.preprocess import NothingKeptError


@pytest.mark.usefixtures(bright_faces.__name__)
def test_every_dropped_clip_is_named_with_its_reason_and_every_clip_pictured(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    write_video(folder / "good.mp4", [face()] * 30, 25.0, tone(1.2))
    write_video(folder / "mended.mp4", [dark() if k == 5 else face() for k in range(30)], 25.0)
    write_video(folder / "dark <b>.mp4", [dark()] * 30, 25.0)
    (folder / "text.mp4").write_text("no video")
    pages = []

    def illustrate(_, report, reported):
        for name in ("a.html", "b.html"):
            pages.append(write_preparation_report(tmp_path / name, report, reported).read_text())
        assert [item.thumbnail() is not None for item in reported] == [True, True, True, False]

    preparation(folder, tmp_path / "out").run(workers=0, illustrate=illustrate)
    page, again = pages
    assert page == again
    assert "2 samples (2 s of film" in page
    assert "dark &lt;b&gt;.mp4" in page
    assert "no face is seen in any of the frames looked at" in page
    assert "face interpolated in 1 of 30 frames" in page
    assert page.count("<img") == 2, "a contact sheet of the kept, one of the dropped"
    assert "Length" in page


@pytest.mark.usefixtures(bright_faces.__name__)
def test_of_nothing_kept_there_is_a_page_too(tmp_path):
    write_video(tmp_path / "clips" / "dark.mp4", [dark()] * 30, 25.0)
    page = tmp_path / "out" / "report.html"

    def illustrate(folder, report, reported):
        write_preparation_report(folder / page.name, report, reported)

    with pytest.raises(NothingKeptError):
        preparation(tmp_path / "clips", tmp_path / "out").run(0, illustrate)
    text = page.read_text()
    assert "0 samples (0 s of film) from 1 clips; 1 dropped" in text
    assert "no face is seen in any of the frames looked at" in text
    assert "Samples of each split" not in text
    assert text.count("<img") == 1


def test_like_reasons_are_counted_together():
    assert _kind("the face is 38 pixels high (median), at least 64 are needed") == "the face is … pixels high"
    assert _kind("/data/a b/c.mp4 is empty (0 bytes)").endswith("is empty")
    assert _kind("the sound is 0.60 s late (confidence 9.0)") == _kind(
        "the sound is 0.51 s late (confidence 7.2)"
    )
