"""Figures of systems that draw noise: a mean over clips and seeds, a spread over either."""

import json

import numpy as np
import pytest
import torch

from aniportrait.cli.evaluate import _cell
from aniportrait.evaluation.report import write_report
from aniportrait.evaluation.report_sections import Column, Part, Row, Table
from aniportrait.evaluation.scores import Score
from aniportrait.evaluation.seeded import Seeded


class Suite:
    """Remembers the values it was told."""

    def __init__(self):
        self.values = []

    def per_clip(self):
        return {"figure": torch.tensor(self.values)}


def seeded(values):
    suites = Seeded(Suite)
    for seed, row in enumerate(values):
        suites.of(seed).values += row
    return suites


def test_the_spread_over_seeds_is_that_of_the_tables_mean():
    score = Score.over_seeds(np.array([[1.0, 3.0], [2.0, 6.0]]))
    assert (score.value, score.scored, score.per_seed) == (3.0, 2, (2.0, 4.0))
    assert score.seed_spread == pytest.approx(2**0.5)


def test_a_clip_that_one_seed_could_not_score_counts_by_the_others():
    score = Score.over_seeds(np.array([[1.0, np.nan, np.nan], [3.0, 5.0, np.nan]]))
    assert (score.value, score.scored, score.given) == (3.5, 2, 3)
    assert score.per_seed == (1.0, 4.0)


def test_one_sampling_has_no_spread():
    score = Score.over_seeds(np.array([[1.0, 3.0]]))
    assert (score.value, score.per_seed, score.seed_spread) == (2.0, (), None)


def test_seeds_without_any_figure_have_no_spread():
    nothing = Score.over_seeds(np.full((2, 3), np.nan))
    assert (nothing.scored, nothing.per_seed, nothing.seed_spread) == (0, (), None)
    assert Score.over_seeds(np.array([[np.nan, np.nan], [1.0, 3.0]])).per_seed == (2.0,)


def test_a_ratio_is_of_means_over_clips_that_both_have():
    ours, theirs = seeded([[1.0, 9.0, 2.0], [3.0, 9.0, 2.0]]), seeded([[4.0, float("nan"), 4.0]])
    assert ours.ratio("figure", theirs) == pytest.approx((2.0 + 2.0) / (4.0 + 4.0))
    assert ours.ratio("figure", seeded([[float("nan")] * 3])) is None


def test_the_report_and_the_results_say_the_spread(tmp_path):
    score = seeded([[1.0, 3.0], [2.0, 6.0]]).score("figure")
    table = Table("t", [Column("figure", digits=2)], [Row("ours", [score])])
    page = write_report(tmp_path / "report.html", [Part("p", [table])]).read_text(encoding="utf-8")
    assert "± 1.41 over 2 sampling seeds" in page
    cell = json.loads(json.dumps(_cell(score)))
    assert cell["sampling seeds"] == [2.0, 4.0]
    assert cell["std over sampling seeds"] == pytest.approx(2**0.5)
