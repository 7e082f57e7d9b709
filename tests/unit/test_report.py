"""What stands on the page, and that the page stands alone."""

import base64
import io
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from aniportrait.evaluation.curves import read_curves, running_mean
from aniportrait.evaluation.markdown import write_tables
from aniportrait.evaluation.mesh_figures import draw_meshes, draw_mouth
from aniportrait.evaluation.report import write_report
from aniportrait.evaluation.report_sections import Column, Curves, Images, Part, Row, Table, Text, Video
from aniportrait.evaluation.scores import Score, bootstrap_interval
from aniportrait.face.topology import INNER_LIPS, OUTER_LIPS, VERTICES

HOSTILE = '<script>alert(1)</script> & "quotes" $x_1$'


class Page(HTMLParser):
    """Tags with their attributes, the text, and whether every tag is closed in order."""

    VOID = frozenset({"meta", "link", "img", "br", "path", "use", "rect"})

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.open = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data.strip())

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self):
        return " ".join(word for word in self.words if word)


@pytest.fixture
def page(tmp_path):
    def write(*sections, **words):
        return Page(write_report(tmp_path / "report.html", sections, **words).read_text(encoding="utf-8"))

    return write


def table(*rows, **column):
    return Table("scores", [Column("error", "mm", higher_is_better=False, digits=2, **column)], rows)


def best_rows(text):
    rows = re.findall(r'<th scope="row">(.*?)(?: <span|</th>)(.*?)</tr>', text)
    return [name for name, cells in rows if 'class="best"' in cells]


def test_a_score_shows_its_value_interval_and_count_under_its_unit_and_direction(page):
    text = page(table(Row("ours", [Score(1.234, 24, 25, (1.1, 1.4))]))).text
    assert "mm · ↓ lower is better" in text
    assert "1.23 95 % 1.10 to 1.40 n = 24 of 25" in text


def test_the_best_mark_goes_to_the_best_competitor_and_not_to_a_bound(page, tmp_path):
    page(table(Row("ours", [2.0]), Row("ridge", [1.5], "baseline"), Row("floor", [0.1], "bound")))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert best_rows(text) == ["ridge"]
    assert '<span class="tag">bound</span>' in text


def test_without_a_direction_nothing_is_best(page, tmp_path):
    page(Table("speed", [Column("frames/s")], [Row("a", [1.0]), Row("b", [2.0], "baseline")]))
    assert best_rows((tmp_path / "report.html").read_text(encoding="utf-8")) == []


def test_a_missing_figure_is_a_dash_and_never_the_best(page, tmp_path):
    rows = (Row("ours", [Score.over_clips([math.nan])]), Row("none", [None]), Row("ridge", [1.0], "baseline"))
    text = page(table(*rows)).text
    assert "ours – n = 0 of 1" in text
    assert best_rows((tmp_path / "report.html").read_text(encoding="utf-8")) == []


def test_tables_are_written_as_markdown_with_what_figures_stand_on(tmp_path):
    rows = (Row("ours", [Score(1.234, 24, 25, (1.1, 1.4))]), Row("a|b", ["no\nface"]), Row("none", [None]))
    parts = [Part("faces", [table(*rows), Text("words", "of no table")])]
    assert write_tables(tmp_path / "tables.md", parts).read_text().splitlines() == [
        "## scores",
        "",
        "|  | error: mm · ↓ lower is better |",
        "| --- | --- |",
        "| ours | 1.23 (95 % 1.10 to 1.40, n = 24 of 25) |",
        "| a\\|b | no face |",
        "| none | – |",
    ]


def test_a_row_must_fill_its_columns():
    with pytest.raises(ValueError, match="row 'ours' of table 'scores' has 2 cells for 1 columns"):
        table(Row("ours", [1.0, 2.0]))


def test_all_text_is_escaped(page):
    shown = page(
        Text(HOSTILE, HOSTILE, command=HOSTILE),
        Part(
            HOSTILE,
            [Curves(HOSTILE, {HOSTILE: ([0, 1], [0.0, 1.0])}, {HOSTILE: 0.5}, HOSTILE, HOSTILE)],
            HOSTILE,
        ),
        Table(HOSTILE, [Column(HOSTILE, HOSTILE)], [Row(HOSTILE, [HOSTILE])], HOSTILE),
        Images(HOSTILE, [[np.zeros((4, 4, 3), np.uint8)]], [HOSTILE], [HOSTILE], HOSTILE),
        title=HOSTILE,
        summary=HOSTILE,
    )
    assert shown.all("script") == []
    assert shown.text.count(HOSTILE) >= 15


def test_the_page_asks_no_network(tmp_path):
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"not a real video")
    sections = [
        Curves("loss", {"loss": ([0, 1, 2], [3.0, 2.0, 1.0])}),
        Images("frames", [[np.zeros((300, 300, 3), np.uint8)]]),
        Video("clip", clip),
    ]
    text = write_report(tmp_path / "report.html", sections).read_text(encoding="utf-8")
    page = Page(text)
    addresses = [
        v
        for _, tag in page.tags
        for k, v in tag.items()
        if k in ("src", "href", "xlink:href", "data", "srcset")
    ]
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert "@import" not in text
    assert re.findall(r"url\((?!#)", text) == []


def test_pictures_come_back_as_they_were_when_small_and_nearly_when_large(page):
    ramp = np.arange(64, dtype=np.uint8)
    small = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None, :], np.uint8(7)), axis=-1)
    large = small.repeat(4, axis=0).repeat(4, axis=1)
    sources = [image["src"] for image in page(Images("frames", [[small, None, large]])).all("img")]
    stored = [np.asarray(Image.open(io.BytesIO(base64.b64decode(s.partition(",")[2])))) for s in sources]
    assert sources[0].startswith("data:image/png")
    assert sources[1].startswith("data:image/jpeg")
    np.testing.assert_array_equal(stored[0], small)
    assert np.abs(stored[1].astype(int) - large).mean() < 2


@pytest.mark.parametrize("picture", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8)])
def test_pictures_of_another_kind_are_refused(picture):
    with pytest.raises(ValueError, match="must be \\(h, w, 3\\) uint8"):
        Images("frames", [[picture]])


def test_a_small_video_is_embedded_and_a_large_one_linked(tmp_path):
    small, large = tmp_path / "small.mp4", tmp_path / "videos" / "my clip (1).mp4"
    large.parent.mkdir()
    small.write_bytes(b"x" * 10)
    large.write_bytes(b"x" * 3_000_000)
    report = write_report(tmp_path / "out" / "report.html", [Video("a", small), Video("b", large)])
    sources = [video["src"] for video in Page(report.read_text(encoding="utf-8")).all("video")]
    assert base64.b64decode(sources[0].removeprefix("data:video/mp4;base64,")) == b"x" * 10
    assert sources[1] == "../videos/my%20clip%20%281%29.mp4"


def test_a_missing_video_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.mp4 of section 'clip' does not exist"):
        write_report(tmp_path / "report.html", [Video("clip", tmp_path / "gone.mp4")])
    assert list(tmp_path.iterdir()) == []


def test_curves_are_drawn_in_the_pages_colours_with_a_legend(page, tmp_path):
    lines = {"one": ([0, 1], [0.0, 1.0]), "two": ([0, 1], [1.0, 0.0])}
    shown = page(Curves("loss", lines, {"baseline": 0.5}, y_label="loss"))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    svg = text[text.index("<svg") : text.index("</svg>")]
    assert all(f"stroke: var(--series-{index})" in svg for index in range(3))
    assert not re.search(r"#[0-9a-f]{6}", svg.replace("#ffffff", ""))
    assert [item["class"] for item in shown.all("li")] == ["line", "line", "level"]
    assert "loss one two baseline" in " ".join(shown.text.split())


def test_curves_on_a_logarithmic_axis_have_plain_numbers(page):
    text = page(Curves("loss", {"loss": ([0, 1, 2], [1.0, 0.1, 0.01])}, y_scale="log")).text
    assert "mathdefault" not in text
    assert "0.01" in text


def test_the_same_sections_give_the_same_page(tmp_path):
    sections = [
        Curves("loss", {"loss": ([0, 1], [0.0, 1.0])}),
        table(Row("ours", [Score.over_clips(range(9))])),
    ]
    first, second = (write_report(tmp_path / name, sections).read_bytes() for name in ("a.html", "b.html"))
    assert first == second


def test_lightnings_log_is_read_per_name_without_its_holes(tmp_path):
    log = tmp_path / "metrics.csv"
    log.write_text(
        "epoch,step,loss/mesh,val/error\n0,9,1.5,\n0,19,1.25,\n0,19,,3.0\n1,29,nan,\n", encoding="utf-8"
    )
    curves = read_curves(log)
    assert list(curves) == ["loss/mesh", "val/error"]
    assert curves["val/error"] == ([19], [3.0])
    assert curves["loss/mesh"][0] == [9, 19, 29]
    assert curves["loss/mesh"][1][:2] == [1.5, 1.25]
    assert math.isnan(curves["loss/mesh"][1][2])


def test_a_missing_log_and_a_file_that_is_none_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"metrics\.csv does not exist"):
        read_curves(tmp_path / "metrics.csv")
    (tmp_path / "metrics.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(ValueError, match="has no column step"):
        read_curves(tmp_path / "metrics.csv")


def test_the_running_mean_shrinks_at_the_ends_and_skips_what_is_no_number():
    values = np.array([1.0, 2.0, 6.0, math.nan, 4.0])
    np.testing.assert_allclose(running_mean(values, 3), [1.5, 3.0, 4.0, 5.0, 4.0])


def test_the_interval_covers_the_mean_as_the_normal_one_does():
    values = np.random.default_rng(3).normal(10.0, 2.0, size=400)
    low, high = bootstrap_interval(values) or (math.nan, math.nan)
    half = 1.96 * values.std() / math.sqrt(400)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)


def test_a_score_counts_the_clips_it_could_not_score_and_gives_few_clips_no_interval():
    score = Score.over_clips([1.0, 3.0, math.nan])
    assert (score.value, score.scored, score.given, score.interval) == (2.0, 2, 3, None)
    assert Score.over_clips([2.0] * 5).interval == (2.0, 2.0)


def mouths(openings):
    """(f,) cm -> (f, 468, 3): two rings of lips, the lower half moved down by the opening."""
    vertices = np.zeros((len(openings), VERTICES, 3), np.float32)
    for ring, radius in ((OUTER_LIPS, 3.0), (INNER_LIPS, 2.0)):
        angle = np.pi + np.arange(len(ring)) * 2 * np.pi / len(ring)
        vertices[:, ring, 0] = radius * np.cos(angle)
        vertices[:, ring, 1] = 0.3 * radius * np.sin(angle) - np.outer(openings, np.sin(angle) < -1e-6)
    return vertices


def test_mesh_figures_show_the_clip_from_shut_to_open_and_the_openings_in_mm():
    openings = np.linspace(0, 1, 11)
    images, curves = draw_meshes("clip", mouths(openings * 0.5), mouths(openings), fps=10.0, moments=3)
    assert list(images.column_captions) == ["0.00 s", "0.50 s", "1.00 s"]
    seconds, truth = curves.lines["truth"]
    assert seconds[-1] == pytest.approx(1.0)
    assert truth[-1] - truth[0] == pytest.approx(10.0, abs=0.01)
    assert curves.lines["predicted"][1][-1] - truth[0] == pytest.approx(5.0, abs=0.01)


def test_a_drawn_mouth_is_white_only_where_the_prediction_is_off():
    shut, open_ = mouths([0.0])[0], mouths([1.0])[0]
    clip = mouths([0.0, 1.0])
    right, wrong = draw_mouth(open_, open_, clip), draw_mouth(shut, open_, clip)
    assert right.shape == (200, 200, 3)
    white = [(picture.min(axis=-1) > 200).sum() for picture in (right, wrong)]
    assert white[0] == 0
    assert white[1] > 50


def test_meshes_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="must have the truth's shape"):
        draw_meshes("clip", mouths([0.0]), mouths([0.0, 1.0]), fps=25.0)
