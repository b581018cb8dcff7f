from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from workbench.telemetry.histogram import BUCKETS, EDGES, RELATIVE_ERROR, Histogram

durations = st.lists(st.floats(1e-6, 1000.0), max_size=60)


def of(values: list[float]) -> Histogram:
    histogram = Histogram()
    histogram.add(values)
    return histogram


@given(durations, durations, durations)
def test_merging_is_associative_and_loses_nothing(a: list[float], b: list[float], c: list[float]) -> None:
    left = of(a).merged(of(b)).merged(of(c))
    right = of(a).merged(of(b).merged(of(c)))
    at_once = of(a + b + c)
    np.testing.assert_array_equal(left.counts, right.counts)
    np.testing.assert_array_equal(left.counts, at_once.counts)
    np.testing.assert_allclose([left.total_s, right.total_s], at_once.total_s)


@given(durations.filter(bool), st.floats(0.0, 1.0))
def test_a_quantile_is_within_the_error_bound_of_the_value_at_its_rank(values: list[float], q: float) -> None:
    exact = sorted(values)[max(1, int(np.ceil(q * len(values)))) - 1]
    found = of(values).quantile(q)
    assert found is not None
    assert abs(found - exact) <= exact * RELATIVE_ERROR * 1.0001 or exact == EDGES[0]


@given(durations, durations)
def test_what_came_since_a_copy_is_what_was_added_since(a: list[float], b: list[float]) -> None:
    histogram = of(a)
    earlier = histogram.copy()
    histogram.add(b)
    np.testing.assert_array_equal(histogram.since(earlier).counts, of(b).counts)


@given(durations)
def test_the_sparse_form_gives_the_same_histogram_back(values: list[float]) -> None:
    histogram = of(values)
    encoded = histogram.encode()
    again = Histogram.decode(encoded)
    np.testing.assert_array_equal(again.counts, histogram.counts)
    assert again.total_s == histogram.total_s
    assert 0 not in encoded["buckets"].values()


def test_an_edge_belongs_to_the_bucket_that_it_closes() -> None:
    for edge in (1e-6, 0.0025, 0.01, 1.0, 1000.0):
        assert edge in EDGES
        bucket = int(np.flatnonzero(of([edge]).counts)[0])
        assert EDGES[bucket] == edge


def test_what_is_out_of_range_is_still_counted() -> None:
    histogram = of([-1.0, 0.0, 1e-9, 5000.0])
    assert histogram.counts[0] == 3
    assert histogram.counts[BUCKETS - 1] == 1
    assert histogram.quantile(1.0) == 1000.0
    assert histogram.count == 4


def test_an_empty_histogram_has_no_quantile() -> None:
    assert Histogram().quantile(0.5) is None
    assert Histogram().encode() == {"count": 0, "sum_s": 0.0, "buckets": {}}


def test_the_documented_edge_formula_is_the_one_in_use() -> None:
    for decade, step in ((0, 0), (3, 90), (8, 179)):
        assert EDGES[180 * decade + step] == (20 + step) * 10**decade / 2e7
