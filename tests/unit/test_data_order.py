"""The training order: a function of the seed, every sample once a round, every data set its share."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aniportrait.data.mixture import one_folder, weights_of
from aniportrait.data.order import BLOCK, SampleOrder


@settings(max_examples=25, deadline=None)
@given(size=st.integers(1, 40), seed=st.integers(0, 2**31), first=st.integers(0, 10**6))
def test_every_sample_occurs_once_in_each_round(size, seed, first):
    order = SampleOrder([size], [1.0], seed)
    begin = first - first % size
    assert sorted(order(begin + k) for k in range(size)) == list(range(size))


def test_rounds_differ_and_a_position_asked_for_alone_gives_what_it_gives_in_passing():
    order = SampleOrder([50], [1.0], 3)
    passing = [order(k) for k in range(200)]
    assert len({tuple(passing[k : k + 50]) for k in range(0, 200, 50)}) == 4
    assert [SampleOrder([50], [1.0], 3)(k) for k in (199, 7, 120)] == [passing[k] for k in (199, 7, 120)]
    assert passing != [SampleOrder([50], [1.0], 4)(k) for k in range(200)]


@settings(max_examples=10, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 60), min_size=2, max_size=4),
    seed=st.integers(0, 1000),
    block=st.integers(0, 50),
    data=st.data(),
)
def test_each_data_set_has_its_share_of_each_block_and_runs_through_its_samples(sizes, seed, block, data):
    weights = data.draw(st.lists(st.floats(0.1, 5), min_size=len(sizes), max_size=len(sizes)))
    order = SampleOrder(sizes, weights, seed)
    seen = [order(block * BLOCK + k) for k in range(BLOCK)]
    first = 0
    for size, weight in zip(sizes, weights, strict=True):
        of_set = [sample - first for sample in seen if first <= sample < first + size]
        assert abs(len(of_set) - BLOCK * weight / sum(weights)) < 1
        counts = Counter(of_set).values()
        assert max(counts) - (min(counts) if len(counts) == size else 0) <= 2  # cut rounds at both ends
        first += size


def test_the_rounds_of_a_set_go_on_from_block_to_block():
    order = SampleOrder([7, 300], [1, 2], 0)
    of_first = [sample for k in range(3 * BLOCK) if (sample := order(k)) < 7]
    for begin in range(0, len(of_first) - 7, 7):
        assert sorted(of_first[begin : begin + 7]) == list(range(7))


def test_the_candidates_for_a_place_are_all_samples_of_its_set():
    order = SampleOrder([3, 4], [1, 1], 0)
    for position in range(20):
        first, *others = order.candidates(position)
        expected = range(3) if first < 3 else range(3, 7)
        assert sorted([first, *others]) == list(expected)


def test_shares_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="at least 1/1000"):
        SampleOrder([5, 5], [1, 1e-6], 0)
    with pytest.raises(ValueError, match="must be positive"):
        SampleOrder([5, 0], [1, 1], 0)


def test_data_sets_are_named_with_their_weights():
    assert weights_of("a") == {"a": 1.0}
    assert weights_of([{"folder": "a", "weight": 0.7}, {"folder": "s3://b/c", "weight": 3}]) == {
        "a": 0.7,
        "s3://b/c": 3.0,
    }
    for parts, said in (
        ([], "at least one"),
        (["a"], "of the form"),
        ([{"folder": "a", "weight": 0}], "positive"),
        ([{"folder": "a", "weight": 1}, {"folder": "a", "weight": 1}], "occur once"),
    ):
        with pytest.raises(ValueError, match=said):
            weights_of(parts)


def test_a_command_that_takes_one_data_set_refuses_a_mixture():
    assert one_folder("data/a", "step=show") == "data/a"
    with pytest.raises(
        ValueError, match=r"step=show takes one data set: data\.folder must be one folder, not a mixture"
    ):
        one_folder([{"folder": "a", "weight": 1.0}], "step=show")
